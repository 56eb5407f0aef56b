package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"net"
	"os"
	"slices"
	"sync"
	"time"
)

// result is what the callers print, as JSON. Times are in seconds, latencies in milliseconds.
type result struct {
	Requests int     `json:"requests"`
	Failed   int     `json:"failed"`
	Failure  string  `json:"failure,omitempty"`
	Seconds  float64 `json:"seconds"`
	P50      float64 `json:"p50_ms"`
	P95      float64 `json:"p95_ms"`
	P99      float64 `json:"p99_ms"`
}

// plan is what each caller does: the same request again and again, each after the answer to the one before.
type plan struct {
	target  string
	request []byte
	length  int
	until   time.Time
	most    int
	pause   func()
	due     <-chan time.Time
}

// callers opens the connections, sends until the time or the requests are used up, and prints a result.
func callers(arguments []string) error {
	flags := flag.NewFlagSet("callers", flag.ExitOnError)
	target := flags.String("target", "", "address to send to")
	path := flags.String("path", "/text-to-image", "path of the requests")
	body := flags.String("body", "{}", "body of the requests")
	length := flags.Int("length", 1024, "bytes that each answer must have")
	connections := flags.Int("connections", 64, "callers at a time")
	seconds := flags.Float64("seconds", 2, "how long new requests are sent")
	most := flags.Int("most", 1<<20, "requests of one connection at most")
	together := flags.Bool("together", false, "no caller reads on before every caller has the head of its answer")
	upload := flags.Int("upload", 0, "bytes of a file that is sent in a form, with the body as the field model_id")
	rate := flags.Float64("rate", 0, "requests per second of all callers; 0: each as fast as it is answered")
	_ = flags.Parse(arguments)

	limit := time.Duration(*seconds * float64(time.Second))
	did := plan{target: *target, request: request(*path, *body), length: *length, most: *most, pause: func() {}}
	if *upload > 0 {
		did.request = form(*path, *body, *upload)
	}
	if *together {
		did.most, did.pause = 1, barrier(*connections)
	}
	began := time.Now()
	did.until = began.Add(limit)
	if *rate > 0 {
		did.due = schedule(began, did.until, *rate)
	}
	return json.NewEncoder(os.Stdout).Encode(run(did, *connections, began))
}

func request(path, body string) []byte {
	head := "POST %s HTTP/1.1\r\nHost: bench\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s"
	return fmt.Appendf(nil, head, path, len(body), body)
}

// form is a multipart request with a model's id and a file.
func form(path, model string, size int) []byte {
	const part = "--bench\r\nContent-Disposition: form-data; name=%q%s\r\n\r\n%s\r\n"
	body := fmt.Appendf(nil, part, "model_id", "", model)
	body = fmt.Appendf(body, part, "image", "; filename=\"a.png\"", bytes.Repeat([]byte("x"), size))
	body = append(body, "--bench--\r\n"...)
	head := "POST %s HTTP/1.1\r\nHost: bench\r\nContent-Type: multipart/form-data; boundary=bench\r\nContent-Length: %d\r\n\r\n"
	return append(fmt.Appendf(nil, head, path, len(body)), body...)
}

// schedule gives the moments at which requests are due, whether or not those before are answered.
func schedule(from, until time.Time, rate float64) <-chan time.Time {
	due := make(chan time.Time, int(until.Sub(from).Seconds()*rate)+1)
	go func() {
		defer close(due)
		for number := 0; ; number++ {
			moment := from.Add(time.Duration(float64(number) / rate * float64(time.Second)))
			if moment.After(until) {
				return
			}
			time.Sleep(time.Until(moment))
			due <- moment
		}
	}()
	return due
}

// barrier lets its callers go on once all of them have arrived.
func barrier(count int) func() {
	var arrived sync.WaitGroup
	arrived.Add(count)
	return func() {
		arrived.Done()
		arrived.Wait()
	}
}

func run(did plan, connections int, began time.Time) result {
	var lock sync.Mutex
	var all sync.WaitGroup
	var times []time.Duration
	var total result
	for range connections {
		all.Add(1)
		go func() {
			defer all.Done()
			mine, err := did.call()
			lock.Lock()
			defer lock.Unlock()
			times = append(times, mine...)
			if err != nil {
				total.Failed++
				total.Failure = err.Error()
			}
		}()
	}
	all.Wait()
	total.Seconds = time.Since(began).Seconds()
	total.Requests = len(times)
	slices.Sort(times)
	if len(times) > 0 {
		total.P50 = milliseconds(times[len(times)/2])
		total.P95 = milliseconds(times[len(times)*95/100])
		total.P99 = milliseconds(times[len(times)*99/100])
	}
	return total
}

func milliseconds(time time.Duration) float64 { return float64(time.Microseconds()) / 1000 }

// call is one caller: a connection, one request at a time. It returns how long each took, from the moment it was due.
func (did plan) call() ([]time.Duration, error) {
	connection, err := net.DialTimeout("tcp", did.target, 5*time.Second)
	if err != nil {
		return nil, err
	}
	defer connection.Close()
	_ = connection.SetDeadline(did.until.Add(20 * time.Second))
	reader := bufio.NewReaderSize(connection, 64<<10)
	var times []time.Duration
	for len(times) < did.most {
		sent, more := did.next()
		if !more {
			break
		}
		if err := did.once(connection, reader); err != nil {
			return times, err
		}
		times = append(times, time.Since(sent))
	}
	return times, nil
}

// next waits for the next request's moment, from which its time counts; false at the end.
func (did plan) next() (time.Time, bool) {
	if did.due != nil {
		moment, more := <-did.due
		return moment, more
	}
	now := time.Now()
	return now, now.Before(did.until)
}

func (did plan) once(connection net.Conn, reader *bufio.Reader) error {
	if _, err := connection.Write(did.request); err != nil {
		return err
	}
	start, length, err := readHead(reader)
	did.pause()
	if err != nil {
		return err
	}
	if !bytes.HasPrefix(start, []byte("HTTP/1.1 200")) || length != did.length {
		return fmt.Errorf("answered with %q and %d bytes instead of 200 and %d", start, length, did.length)
	}
	return discard(reader, length)
}
