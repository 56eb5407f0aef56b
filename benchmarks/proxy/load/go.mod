module stoker.dev/benchmarks/load

go 1.22
