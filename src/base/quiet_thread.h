// A thread that takes no signals: they belong to the main thread.
#pragma once

#include <csignal>
#include <thread>
#include <utility>

namespace genesis {

template <typename F>
std::thread start_quietly(F body) {
  sigset_t all;
  sigset_t before;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  std::thread thread(std::move(body));
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
  return thread;
}

}  // namespace genesis
