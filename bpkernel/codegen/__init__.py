"""The only folder that uses the internals of Numba and LLVM: compilation, its cache on disk, pointers, tiles, views,
atomics."""
