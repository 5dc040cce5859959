//go:build linux

package measure

import (
	"errors"
	"io"
	"net"
	"net/netip"
	"time"

	"golang.org/x/sys/unix"
)

// errAgain is the error of a socket that would have to wait. It is temporary, so
// that crypto/tls can continue after it.
var errAgain error = again{}

type again struct{}

func (again) Error() string   { return "measure: would wait" }
func (again) Timeout() bool   { return true }
func (again) Temporary() bool { return true }

// openingLimit bounds the wait for each step of an opening handshake.
const openingLimit = 20 * time.Second

// A socket is a TCP connection without Go's poller: its user waits for it
// with epoll. It has the methods of net.Conn that crypto/tls needs.
type socket struct {
	fd int
	// waits makes reads and writes wait, for handshakes.
	waits bool
	// unsent holds bytes that the kernel had no room for, beginning at offset
	// gone.
	unsent []byte
	gone   int
}

// connect opens a connection to addr from the loopback address source.
func connect(addr netip.AddrPort, source [4]byte) (*socket, error) {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	s := &socket{fd: fd, waits: true}
	// The port is chosen when the destination is known, so that each source
	// address can use all ports.
	err = errors.Join(
		unix.SetsockoptInt(fd, unix.IPPROTO_IP, unix.IP_BIND_ADDRESS_NO_PORT, 1),
		unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_NODELAY, 1),
		unix.Bind(fd, &unix.SockaddrInet4{Addr: source}),
		unix.Connect(fd, &unix.SockaddrInet4{Addr: addr.Addr().As4(), Port: int(addr.Port())}),
		unix.SetNonblock(fd, true),
	)
	if err != nil {
		unix.Close(fd)
		return nil, err
	}
	return s, nil
}

// ready waits until the socket can do what events say.
func (s *socket) ready(events int16) error {
	fds := []unix.PollFd{{Fd: int32(s.fd), Events: events}}
	for {
		n, err := unix.Poll(fds, int(openingLimit.Milliseconds()))
		switch {
		case err == unix.EINTR:
		case err != nil:
			return err
		case n == 0:
			return errors.New("measure: timeout in the opening handshake")
		default:
			return nil
		}
	}
}

// Read returns errAgain if it would have to wait.
func (s *socket) Read(p []byte) (int, error) {
	for {
		n, err := unix.Read(s.fd, p)
		switch {
		case err == unix.EINTR:
		case err == unix.EAGAIN && s.waits:
			if err := s.ready(unix.POLLIN); err != nil {
				return 0, err
			}
		case err == unix.EAGAIN:
			return 0, errAgain
		case err != nil:
			return 0, err
		case n == 0:
			return 0, io.EOF
		default:
			return n, nil
		}
	}
}

// Write never waits unless waits is set: it keeps bytes that the kernel has no
// room for, and flush sends them.
func (s *socket) Write(p []byte) (int, error) {
	if len(s.unsent) > 0 {
		s.unsent = append(s.unsent, p...)
		return len(p), nil
	}
	n, err := s.write(p)
	if err != nil {
		return n, err
	}
	s.unsent = append(s.unsent, p[n:]...)
	return len(p), nil
}

// write writes as much of p as the kernel accepts.
func (s *socket) write(p []byte) (int, error) {
	done := 0
	for done < len(p) {
		n, err := unix.Write(s.fd, p[done:])
		switch {
		case err == unix.EINTR:
		case err == unix.EAGAIN && s.waits:
			if err := s.ready(unix.POLLOUT); err != nil {
				return done, err
			}
		case err == unix.EAGAIN:
			return done, nil
		case err != nil:
			return done, err
		default:
			done += n
		}
	}
	return done, nil
}

// flush writes bytes that were kept.
func (s *socket) flush() error {
	n, err := s.write(s.unsent[s.gone:])
	s.gone += n
	if s.gone == len(s.unsent) {
		s.unsent, s.gone = s.unsent[:0], 0
	}
	return err
}

// Close ends the connection with a reset, which leaves no state behind.
func (s *socket) Close() error {
	return errors.Join(
		unix.SetsockoptLinger(s.fd, unix.SOL_SOCKET, unix.SO_LINGER, &unix.Linger{Onoff: 1}),
		unix.Close(s.fd),
	)
}

func (s *socket) LocalAddr() net.Addr              { return &net.TCPAddr{} }
func (s *socket) RemoteAddr() net.Addr             { return &net.TCPAddr{} }
func (s *socket) SetDeadline(time.Time) error      { return nil }
func (s *socket) SetReadDeadline(time.Time) error  { return nil }
func (s *socket) SetWriteDeadline(time.Time) error { return nil }
