// Command bench holds connections with amqp091-go alone, and reports what that takes.
//
// It is a child of the measurements: usage is `bench PORT USER PASSWORD COUNT SECONDS`. It does what
// lines of its standard input say, `open` and `renew`, reports figures as lines of JSON, and ends when
// its input does, or after so many seconds.
package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"log"
	"os"
	"runtime/debug"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"
)

// As connectLimit.concurrent is by default.
const atOnce = 50

func main() {
	log.SetFlags(0)
	port, user, password := os.Args[1], os.Args[2], os.Args[3]
	count, err := strconv.Atoi(os.Args[4])
	check(err)
	url := fmt.Sprintf("amqp://%s:%s@127.0.0.1:%s/", user, password, port)

	seconds, err := strconv.ParseFloat(os.Args[5], 64)
	check(err)
	// Whoever forgets us does not keep us.
	limit := time.Duration(seconds * float64(time.Second))
	time.AfterFunc(limit, func() { log.Fatal("bench: not done in time") })

	first := open(url, 1) // what is allocated once is not what is measured
	report(map[string]float64{"resident": float64(residentBytes())})
	var connections []*amqp.Connection
	lines := bufio.NewScanner(os.Stdin)
	for lines.Scan() {
		stopwatch := start()
		step, secret, _ := strings.Cut(lines.Text(), " ")
		switch step {
		case "open":
			connections = open(url, count)
		case "renew":
			forAll(count, func(number int) error {
				return connections[number].UpdateSecret(secret, "renewed")
			})
		default:
			log.Fatalf("bench: there is no step %q", step)
		}
		figures := stopwatch.figures()
		figures["resident"] = float64(residentBytes())
		report(figures)
	}
	check(lines.Err())
	forAll(len(connections), func(number int) error { return connections[number].Close() })
	check(first[0].Close())
}

func open(url string, count int) []*amqp.Connection {
	connections := make([]*amqp.Connection, count)
	turns := make(chan struct{}, atOnce)
	forAll(count, func(number int) (err error) {
		turns <- struct{}{}
		defer func() { <-turns }()
		connections[number], err = amqp.DialConfig(url, amqp.Config{Heartbeat: 30 * time.Second})
		return err
	})
	return connections
}

func forAll(count int, do func(number int) error) {
	var all sync.WaitGroup
	for number := 0; number < count; number++ {
		all.Add(1)
		go func(number int) {
			defer all.Done()
			check(do(number))
		}(number)
	}
	all.Wait()
}

type stopwatch struct {
	wall time.Time
	cpu  float64
}

func start() stopwatch {
	return stopwatch{wall: time.Now(), cpu: processorSeconds()}
}

func (s stopwatch) figures() map[string]float64 {
	return map[string]float64{
		"wall": time.Since(s.wall).Seconds(),
		"cpu":  processorSeconds() - s.cpu,
	}
}

func processorSeconds() float64 {
	var usage syscall.Rusage
	check(syscall.Getrusage(syscall.RUSAGE_SELF, &usage))
	user, system := time.Duration(usage.Utime.Nano()), time.Duration(usage.Stime.Nano())
	return (user + system).Seconds()
}

// residentBytes is what the process holds after a collection that gives back all it can.
func residentBytes() int {
	debug.FreeOSMemory()
	text, err := os.ReadFile("/proc/self/statm")
	check(err)
	pages, err := strconv.Atoi(strings.Fields(string(text))[1])
	check(err)
	return pages * os.Getpagesize()
}

func report(figures map[string]float64) {
	check(json.NewEncoder(os.Stdout).Encode(figures))
}

func check(err error) {
	if err != nil {
		log.Fatal("bench: ", err)
	}
}
