package http1

import (
	"context"
	"net/http"
	"net/url"
	"strings"
)

// ParseRequest returns the request with the given head, which [Reader.Next]
// returned, and context (RFC 9112, Section 3). Its strings share the head's
// memory. Its body is empty; a body that the head announces shows in
// ContentLength and TransferEncoding.
func ParseRequest(ctx context.Context, head string) (*http.Request, error) {
	start, h, err := parseHead(head)
	if err != nil {
		return nil, err
	}
	r := new(http.Request).WithContext(ctx)
	r.Header, r.Body = h, http.NoBody
	if err := parseRequestLine(r, start); err != nil {
		return nil, err
	}
	if err := moveHost(r); err != nil {
		return nil, err
	}
	setBodyLength(r)
	return r, nil
}

// parseRequestLine sets the fields of r that the first line of a request
// carries.
func parseRequestLine(r *http.Request, line string) (err error) {
	var ok1, ok2, ok3 bool
	r.Method, line, ok1 = strings.Cut(line, " ")
	r.RequestURI, r.Proto, ok2 = strings.Cut(line, " ")
	r.ProtoMajor, r.ProtoMinor, ok3 = parseVersion(r.Proto)
	if !ok1 || !ok2 || !ok3 || !IsToken(r.Method) || !IsVisibleASCII(r.RequestURI) {
		return ErrStartLine
	}
	if r.Method == http.MethodConnect {
		r.URL = &url.URL{Host: r.RequestURI}
		return nil
	}
	if r.URL, err = url.ParseRequestURI(r.RequestURI); err != nil {
		return ErrTarget
	}
	return nil
}

// moveHost moves the Host field to where net/http keeps it. "A server MUST
// respond with a 400 status code to any HTTP/1.1 request message that lacks a
// Host header field and to any request message that contains more than one
// Host header field line or a Host header field with an invalid field value"
// (RFC 9112, Section 3.2).
func moveHost(r *http.Request) error {
	hosts := r.Header["Host"]
	delete(r.Header, "Host")
	if len(hosts) > 1 || len(hosts) == 0 && r.ProtoAtLeast(1, 1) && r.ProtoMajor == 1 {
		return ErrMalformed
	}
	if len(hosts) == 1 && !isHostText(hosts[0]) {
		return ErrMalformed
	}
	r.Host = r.URL.Host
	if r.Host == "" && len(hosts) == 1 {
		r.Host = hosts[0]
	}
	return nil
}

// setBodyLength sets whether a body is announced, the way net/http does: a
// length of -1 means that it is not known.
func setBodyLength(r *http.Request) {
	lengths := r.Header["Content-Length"]
	if len(lengths) > 1 || len(lengths) == 1 && lengths[0] != "0" {
		r.ContentLength = -1
	}
	if codings := r.Header["Transfer-Encoding"]; len(codings) > 0 {
		r.ContentLength, r.TransferEncoding = -1, codings
	}
}
