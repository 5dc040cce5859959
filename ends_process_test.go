package websocket

import (
	"bufio"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"
)

// endingProcess is set in the environment of a test binary that is to be a
// program which exits as soon as it knows of the end of its one connection:
// entry point, network, cause and occupation, separated by commas.
const endingProcess = "WEBSOCKET_ENDING_PROCESS"

// TestEndingProcess is that program. It dials the address on its standard
// input, prints nothing, and is not a test otherwise.
func TestEndingProcess(t *testing.T) {
	names := os.Getenv(endingProcess)
	if names == "" {
		t.Skip("is a part of TestEndsOfProcesses")
	}
	k := namedCell(t, strings.Split(names, ","))
	address, err := bufio.NewReader(os.Stdin).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	nc, err := net.Dial("tcp", strings.TrimSpace(address))
	if err != nil {
		t.Fatal(err)
	}
	switch {
	case k.network.name != "TLS":
	case k.entry.role == server:
		nc = tls.Server(nc, serverTLS())
	default:
		nc = tls.Client(nc, &tls.Config{InsecureSkipVerify: true})
	}
	k.entry.open(nc, k.cause.config, func(c *Conn, err error) {
		if err != nil {
			fmt.Fprintln(os.Stderr, "handshake:", err)
			os.Exit(1)
		}
		k.occupation.wait(c)
		os.Exit(0)
	})
	select {} // net/http's server goes on by itself
}

// namedCell returns the cell with these names of entry point, network, cause and
// occupation.
func namedCell(t *testing.T, names []string) (k endCell) {
	for _, k.entry = range rawEntryPoints {
		for _, k.network = range rawNetworks {
			for _, k.cause = range causes {
				for _, k.occupation = range occupations {
					if strings.Join(names, ",") == strings.Join(k.names(), ",") {
						return k
					}
				}
			}
		}
	}
	t.Fatalf("no cell has the names %q", names)
	return k
}

// names are what namedCell finds the cell by.
func (k endCell) names() []string {
	return []string{k.entry.name, k.network.name, k.cause.name, k.occupation.name}
}

// TestEndsOfProcesses has programs exit right after a call told them of the end
// (V01): they have answered.
func TestEndsOfProcesses(t *testing.T) {
	covers(t, "V01")
	if runtime.GOOS == "js" {
		t.Skip("starts processes")
	}
	serverTLS()
	turns := make(chan struct{}, 4)
	var programs sync.WaitGroup
	for _, k := range processCells() {
		programs.Go(func() {
			turns <- struct{}{}
			defer func() { <-turns }()
			failed, rounds := 0, 2
			var last error
			for range rounds {
				if err := k.playProcess(t); err != nil {
					failed++
					last = err
				}
			}
			if failed > 0 {
				t.Errorf("%s, exit: %d of %d: %s", strings.Join(k.names(), ", "), failed, rounds, oneLine(last))
			}
		})
	}
	programs.Wait()
}

// processCells returns the cells that end with an exit: for each entry point and
// network each cause with Read, and for one entry point of each role each way to
// read with the first cause. Streams of HTTP/2 are left out: net/http hands to the
// network what a call has written after the call, and an exit may come before.
func processCells() (cells []endCell) {
	for _, e := range rawEntryPoints {
		for _, n := range rawNetworks[:2] {
			if !e.worksOn(n) || e.isHTTP2() {
				continue
			}
			for i, c := range causes {
				for j, o := range occupations {
					if !c.closes && !o.writes && (j == 0 || i == 0 && (e.name == "AcceptConn" || e.name == "Dial")) {
						cells = append(cells, endCell{entry: e, network: n, cause: c, occupation: o})
					}
				}
			}
		}
	}
	return cells
}

// playProcess plays the cell with a program and returns what is wrong.
func (k endCell) playProcess(t *testing.T) error {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	defer l.Close()
	program, err := k.start(t, l.Addr())
	if err != nil {
		return err
	}
	defer program.Wait()
	defer program.Process.Kill()
	l.(*net.TCPListener).SetDeadline(time.Now().Add(pairLimit))
	nc, err := l.Accept()
	if err != nil {
		return err
	}
	defer nc.Close()
	nc.SetDeadline(time.Now().Add(pairLimit))
	if k.network.name == "TLS" {
		if k.entry.role == server {
			nc = tls.Client(nc, &tls.Config{InsecureSkipVerify: true})
		} else {
			nc = tls.Server(nc, serverTLS())
		}
	}
	peer := newRawPeer(nc, k.entry.role)
	if err := peer.shakeHands(); err != nil {
		return fmt.Errorf("handshake: %w", err)
	}
	return k.watchProcess(peer)
}

// watchProcess is watch for a program, whose exit closes the connection.
func (k endCell) watchProcess(peer *rawPeer) error {
	if err := peer.send(k.cause.first, k.cause.payload); err != nil {
		return err
	}
	payload, _, err := peer.readClose()
	if err != nil {
		return err
	}
	if k.cause.first == 0x88 && payload != k.cause.payload {
		err = fmt.Errorf("the Close frame has %q, want %q", payload, k.cause.payload)
	}
	return errors.Join(err, peer.readEnd())
}

// start starts the program, which connects to the address.
func (k endCell) start(t *testing.T, address net.Addr) (*exec.Cmd, error) {
	test, err := os.Executable()
	if err != nil {
		return nil, err
	}
	program := exec.CommandContext(t.Context(), test, "-test.run=^TestEndingProcess$")
	program.Env = append(os.Environ(), endingProcess+"="+strings.Join(k.names(), ","))
	program.Stdin = strings.NewReader(address.String() + "\n")
	program.Stderr = os.Stderr
	return program, program.Start()
}
