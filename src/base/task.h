// Task<T>: the coroutine type of every asynchronous function (Boost.Asio's awaitable).
//
// All coroutines of a process run on one io thread unless a header says otherwise. Never hold a
// string_view or span into somebody else's buffer across a co_await unless its owner is awaiting
// us.
#pragma once

#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/awaitable.hpp>

namespace genesis {

template <typename T>
using Task = boost::asio::awaitable<T>;

using Executor = boost::asio::any_io_executor;

}  // namespace genesis
