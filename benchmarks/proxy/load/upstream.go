package main

import (
	"bufio"
	"bytes"
	"flag"
	"fmt"
	"io"
	"net"
)

// upstream answers a request for the model bench/large with a large body, and every other with a small one.
func upstream(arguments []string) error {
	flags := flag.NewFlagSet("upstream", flag.ExitOnError)
	address := flags.String("listen", "127.0.0.1:0", "address to listen on")
	small := flags.Int("small", 1024, "bytes of a small answer")
	large := flags.Int("large", 3<<20, "bytes of a large answer")
	_ = flags.Parse(arguments)
	listener, err := net.Listen("tcp", *address)
	if err != nil {
		return err
	}
	answers := map[bool][]byte{false: response(*small), true: response(*large)}
	for {
		connection, err := listener.Accept()
		if err != nil {
			return err
		}
		go serve(connection, answers)
	}
}

func response(size int) []byte {
	head := fmt.Sprintf("HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n", size)
	return append([]byte(head), bytes.Repeat([]byte("x"), size)...)
}

var wantsLarge = []byte("bench/large")

func serve(connection net.Conn, answers map[bool][]byte) {
	defer connection.Close()
	reader := bufio.NewReaderSize(connection, 16<<10)
	body := make([]byte, 0, 4<<10)
	for {
		_, length, err := readHead(reader)
		if err != nil {
			return
		}
		if cap(body) < length {
			body = make([]byte, 0, length)
		}
		body = body[:length]
		if _, err = io.ReadFull(reader, body); err != nil {
			return
		}
		if _, err = connection.Write(answers[bytes.Contains(body, wantsLarge)]); err != nil {
			return
		}
	}
}
