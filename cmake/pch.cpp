// Owns the precompiled headers; see cmake/GenesisOptions.cmake.
