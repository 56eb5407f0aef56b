package main

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"strconv"
)

var contentLength = []byte("content-length:")

// readHead reads one message's start line and headers, and says how long its body is.
func readHead(reader *bufio.Reader) (start []byte, length int, err error) {
	line, err := reader.ReadSlice('\n')
	if err != nil {
		return nil, 0, err
	}
	start = append(start, bytes.TrimRight(line, "\r\n")...)
	length = -1
	for {
		line, err = reader.ReadSlice('\n')
		if err != nil {
			return nil, 0, err
		}
		line = bytes.TrimRight(line, "\r\n")
		if len(line) == 0 {
			break
		}
		if len(line) > len(contentLength) && bytes.EqualFold(line[:len(contentLength)], contentLength) {
			length, err = strconv.Atoi(string(bytes.TrimSpace(line[len(contentLength):])))
			if err != nil {
				return nil, 0, err
			}
		}
	}
	if length < 0 && bytes.HasPrefix(start, []byte("GET ")) {
		length = 0
	}
	if length < 0 {
		return nil, 0, fmt.Errorf("no Content-Length in the message that began with %q", start)
	}
	return start, length, nil
}

// discard reads and forgets a body.
func discard(reader *bufio.Reader, length int) error {
	_, err := io.CopyN(io.Discard, reader, int64(length))
	return err
}
