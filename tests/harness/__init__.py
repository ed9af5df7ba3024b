"""What the black-box suites share: processes under test, the mock upstream, raw sockets."""
