# Defines genesis_room(): one static library, one include root and one unit-test program per room.
#
# A room's headers are reached only through <build>/stage/<room>, a directory that holds nothing but a
# link to src/<room>; a room that is not linked is therefore not found by the compiler. Dependencies
# must already be targets, so the order of add_subdirectory() is the layer order and an upward arrow
# stops the configure step.

function(genesis_room name)
  cmake_parse_arguments(ROOM "NO_PCH" "" "HEADERS;SOURCES;TESTS;SERVER_TESTS;DEPS;PRIVATE_DEPS;TEST_DEPS" ${ARGN})
  foreach(dep IN LISTS ROOM_DEPS ROOM_PRIVATE_DEPS)
    if(NOT TARGET ${dep})
      message(FATAL_ERROR "room '${name}' asks for '${dep}', which is not defined below it")
    endif()
  endforeach()

  set(stage "${CMAKE_BINARY_DIR}/stage/${name}")
  file(MAKE_DIRECTORY "${stage}")
  file(CREATE_LINK "${CMAKE_CURRENT_SOURCE_DIR}" "${stage}/${name}" SYMBOLIC)

  list(TRANSFORM ROOM_HEADERS PREPEND "${stage}/${name}/" OUTPUT_VARIABLE staged_headers)
  add_library(genesis_${name} STATIC ${ROOM_SOURCES})
  add_library(genesis::${name} ALIAS genesis_${name})
  set_target_properties(genesis_${name} PROPERTIES LINKER_LANGUAGE CXX)
  target_sources(genesis_${name} PUBLIC FILE_SET HEADERS BASE_DIRS "${stage}" FILES ${staged_headers})
  target_link_libraries(genesis_${name}
    PUBLIC ${ROOM_DEPS}
    PRIVATE genesis_options ${ROOM_PRIVATE_DEPS})

  if(GENESIS_PCH AND NOT ROOM_NO_PCH)
    target_precompile_headers(genesis_${name} REUSE_FROM genesis_pch)
  endif()

  if(ROOM_TESTS AND GENESIS_TESTS)
    add_executable(${name}_test ${ROOM_TESTS})
    target_link_libraries(${name}_test PRIVATE
      genesis::${name} genesis_options ${ROOM_PRIVATE_DEPS} ${ROOM_TEST_DEPS} GTest::gmock_main)
    if(GENESIS_PCH)
      target_precompile_headers(${name}_test REUSE_FROM genesis_pch_test)
    endif()
    # Tests named in SERVER_TESTS share a server that takes seconds to start: one process for all of
    # them instead of one for each.
    set(own_process "")
    if(ROOM_SERVER_TESTS)
      set(own_process TEST_FILTER "-*${ROOM_SERVER_TESTS}*")
      add_test(NAME ${name}.${ROOM_SERVER_TESTS}
        COMMAND ${name}_test "--gtest_filter=*${ROOM_SERVER_TESTS}*" --gtest_brief=1)
      set_tests_properties(${name}.${ROOM_SERVER_TESTS} PROPERTIES TIMEOUT 300 LABELS unit)
    endif()
    gtest_discover_tests(${name}_test
      TEST_PREFIX "${name}." DISCOVERY_TIMEOUT 60 ${own_process}
      PROPERTIES TIMEOUT 300 LABELS unit)
  endif()
endfunction()
