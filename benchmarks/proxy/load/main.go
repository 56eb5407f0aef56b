// Command load is both ends of the proxy benchmark: the upstream that a proxy stands before, and the callers.
//
// It speaks just enough HTTP/1.1 over plain sockets, so that the ends cost less than the fastest proxy between them.
package main

import (
	"fmt"
	"os"
	"runtime"
)

func main() {
	runtime.GOMAXPROCS(1)
	if len(os.Args) < 2 {
		fail(fmt.Errorf("usage: load upstream|callers [flags]"))
	}
	var err error
	switch os.Args[1] {
	case "upstream":
		err = upstream(os.Args[2:])
	case "callers":
		err = callers(os.Args[2:])
	default:
		err = fmt.Errorf("%q is neither upstream nor callers", os.Args[1])
	}
	if err != nil {
		fail(err)
	}
}

func fail(err error) {
	fmt.Fprintln(os.Stderr, err)
	os.Exit(1)
}
