# The warnings, hardening and sanitizer switches that every target of ours shares.
add_library(genesis_options INTERFACE)

target_compile_options(genesis_options INTERFACE
  -Wall -Wextra -Wpedantic -Wshadow -Wconversion -Wnon-virtual-dtor -Wold-style-cast
  -Wthread-safety -Werror
  # Option structs are filled by name and leave the rest at its default; that is their purpose.
  -Wno-missing-designated-field-initializers
  -fno-omit-frame-pointer)
target_compile_definitions(genesis_options INTERFACE
  BOOST_ASIO_NO_DEPRECATED BOOST_ALLOW_DEPRECATED_HEADERS)
target_link_libraries(genesis_options INTERFACE Threads::Threads)
target_link_options(genesis_options INTERFACE -fuse-ld=lld-19)

if(CMAKE_BUILD_TYPE STREQUAL "Release" OR CMAKE_BUILD_TYPE STREQUAL "RelWithDebInfo")
  target_compile_definitions(genesis_options INTERFACE _GLIBCXX_ASSERTIONS)
  target_compile_options(genesis_options INTERFACE -fstack-protector-strong)
  target_link_options(genesis_options INTERFACE LINKER:-z,relro,-z,now)
endif()

if(GENESIS_SANITIZE)
  target_compile_options(genesis_options INTERFACE
    -fsanitize=${GENESIS_SANITIZE} -fno-sanitize-recover=all)
  target_link_options(genesis_options INTERFACE -fsanitize=${GENESIS_SANITIZE})
endif()
if(GENESIS_FUZZ)
  target_compile_options(genesis_options INTERFACE -fsanitize=fuzzer-no-link)
endif()

# One precompiled header for all rooms and one for all test programs; it cuts the build by a third. Every
# target needs the same flags for that, so fmt and Boost.JSON are linked everywhere.
if(GENESIS_PCH)
  target_link_libraries(genesis_options INTERFACE fmt::fmt Boost::json)
  add_library(genesis_pch OBJECT ${CMAKE_SOURCE_DIR}/cmake/pch.cpp)
  target_link_libraries(genesis_pch PRIVATE genesis_options)
  target_precompile_headers(genesis_pch PRIVATE ${CMAKE_SOURCE_DIR}/cmake/pch.h)
  if(GENESIS_TESTS)
    add_library(genesis_pch_test OBJECT ${CMAKE_SOURCE_DIR}/cmake/pch.cpp)
    target_link_libraries(genesis_pch_test PRIVATE genesis_options GTest::gmock)
    target_precompile_headers(genesis_pch_test PRIVATE ${CMAKE_SOURCE_DIR}/cmake/pch_test.h)
  endif()
endif()
