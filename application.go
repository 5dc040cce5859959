package websocket

import (
	"context"
	"errors"
	"log"
	"log/slog"
	"net/http"
	"runtime/debug"
)

// This file is about the application's functions that serve a connection: those
// of Handler and the methods of a Receiver. It says what a connection is closed
// with when one of them ends, and logs what went wrong.

// errHandlerExit is what closes a connection when a function of the application
// called runtime.Goexit or panicked.
var errHandlerExit = errors.New("websocket: handler ended its goroutine")

// closeFor returns the close code and reason for an error of the application.
func closeFor(err error) (CloseCode, string) {
	if err == nil {
		return CloseNormal, ""
	}
	if closing := asCloseError(err); closing != nil && closing.Code.onWire() {
		return closing.Code, closing.Reason
	}
	var code CloseCode
	if errors.As(err, &code) && code.onWire() {
		return code, ""
	}
	return CloseInternalError, ""
}

// logPanic logs what a function of the application panicked with: to
// Config.Logger or, if there is none, to errorLog, or if that is nil to the log
// package's logger.
func (c *Conn) logPanic(errorLog *log.Logger, panicked any) {
	switch {
	case panicked == http.ErrAbortHandler:
	case c.cfg.Logger != nil:
		c.cfg.log(slog.LevelError, "websocket: handler panicked", peerAddr(c),
			slog.Any("panic", panicked), slog.String("stack", string(debug.Stack())))
	default:
		if errorLog == nil {
			errorLog = log.Default()
		}
		errorLog.Printf("websocket: panic serving %s: %v\n%s", peerAddr(c), panicked, debug.Stack())
	}
}

// logError logs the error that a function of the application returned, unless
// it only says that the closing handshake ended the connection. An error that
// says how a connection ends or is to end is logged as information.
func (c *Conn) logError(err error) {
	end := asCloseError(err)
	if err == nil || end != nil && end.clean() && end == c.terminal() {
		return
	}
	level := slog.LevelError
	var code CloseCode
	if end != nil || errors.As(err, &code) {
		level = slog.LevelInfo
	}
	c.cfg.log(level, "websocket: handler failed", peerAddr(c), slog.Any("err", err))
}

// peerAddr returns the address of the peer for a log.
func peerAddr(c *Conn) string {
	if addr := c.RemoteAddr(); addr != nil {
		return addr.String()
	}
	return ""
}

// log logs an event to Config.Logger, if there is one.
func (cfg *Config) log(level slog.Level, event, peer string, attrs ...slog.Attr) {
	if cfg.Logger != nil {
		cfg.Logger.LogAttrs(context.Background(), level, event, append(attrs, slog.String("peer", peer))...)
	}
}
