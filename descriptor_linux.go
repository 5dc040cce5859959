package websocket

import (
	"errors"
	"net"
	"os"
	"strconv"
	"syscall"
)

// duplicate returns another descriptor of the socket behind raw.
func duplicate(raw syscall.RawConn) (fd int32, err error) {
	control := raw.Control(func(old uintptr) {
		r, _, errno := syscall.Syscall(syscall.SYS_FCNTL, old, syscall.F_DUPFD_CLOEXEC, 0)
		if fd = int32(r); errno != 0 {
			err = os.NewSyscallError("fcntl", errno)
		}
	})
	return fd, errors.Join(control, err)
}

// closeSocket closes the number fd.
func closeSocket(fd int) { syscall.Close(fd) }

// shutdownSending shuts the sending half of a socket.
func shutdownSending(fd int) error {
	return os.NewSyscallError("shutdown", syscall.Shutdown(fd, syscall.SHUT_WR))
}

// socketAddrs returns the addresses of a socket. They are empty if the system
// does not know them.
func socketAddrs(fd int) (local, remote net.Addr) {
	l, err := syscall.Getsockname(fd)
	if err != nil {
		l = nil
	}
	r, err := syscall.Getpeername(fd)
	if err != nil {
		r = nil
	}
	if _, isUnix := l.(*syscall.SockaddrUnix); isUnix {
		return unixAddr(l), unixAddr(r)
	}
	return tcpAddr(l), tcpAddr(r)
}

// unixAddr returns the address that s is.
func unixAddr(s syscall.Sockaddr) *net.UnixAddr {
	addr := &net.UnixAddr{Net: "unix"}
	if s, ok := s.(*syscall.SockaddrUnix); ok {
		addr.Name = s.Name
	}
	return addr
}

// tcpAddr returns the address that s is.
func tcpAddr(s syscall.Sockaddr) *net.TCPAddr {
	switch s := s.(type) {
	case *syscall.SockaddrInet4:
		return &net.TCPAddr{IP: s.Addr[:], Port: s.Port}
	case *syscall.SockaddrInet6:
		return &net.TCPAddr{IP: s.Addr[:], Port: s.Port, Zone: zoneName(s.ZoneId)}
	}
	return new(net.TCPAddr)
}

// zoneName returns the name of the interface with this index, or "" for 0.
func zoneName(index uint32) string {
	if index == 0 {
		return ""
	}
	if i, err := net.InterfaceByIndex(int(index)); err == nil {
		return i.Name
	}
	return strconv.FormatUint(uint64(index), 10)
}
