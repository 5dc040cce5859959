package http1

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"net/http"
	"strings"
)

// Bounds on what precedes and follows the head of a final response.
const (
	MaxInterim   = 8    // interim responses before the final one
	MaxErrorBody = 1024 // bytes that ReadErrorBody reads of a body
)

// errInterim is the error for a server that sends nothing but interim
// responses.
var errInterim = errors.New("too many interim responses")

// ReadFinalResponse reads a response and skips up to MaxInterim interim ones
// before it (RFC 9110, Section 15.2), of which it tells interim unless that is
// nil; 101 is final. It also returns the head of the response as it arrived. An
// error of interim ends the reading.
func (r *Reader) ReadFinalResponse(interim func(*http.Response) error) (response *http.Response, head string, err error) {
	for range MaxInterim + 1 {
		if head, err = r.Next(); err != nil {
			return nil, "", err
		}
		if response, err = ParseResponse(head); err != nil {
			return nil, "", err
		}
		if response.StatusCode >= 200 || response.StatusCode == http.StatusSwitchingProtocols {
			return response, head, nil
		}
		if interim == nil {
			continue
		}
		if err := interim(response); err != nil {
			return nil, "", err
		}
	}
	return nil, "", errInterim
}

// ReadErrorBody reads the beginning of the body of response, whose head is
// given, and returns it: at most MaxErrorBody bytes, fewer if an error comes
// first, and none if net/http finds the head malformed. It also replaces
// response by what net/http makes of the head, with these bytes as its body. The
// caller sets response.Request first: whether a response has a body depends on
// the method.
func (r *Reader) ReadErrorBody(response *http.Response, head string) []byte {
	whole := io.MultiReader(strings.NewReader(head), bytes.NewReader(r.Rest()), r.nc)
	framed, err := http.ReadResponse(bufio.NewReader(whole), response.Request)
	if err != nil {
		return nil
	}
	body, _ := io.ReadAll(io.LimitReader(framed.Body, MaxErrorBody))
	*response = *framed
	response.Body = io.NopCloser(bytes.NewReader(body))
	return body
}

// ParseResponse returns the response with the given head, which [Reader.Next]
// returned (RFC 9112, Section 4). Its strings share the head's memory. Its body
// is empty.
func ParseResponse(head string) (*http.Response, error) {
	start, h, err := parseHead(head)
	if err != nil {
		return nil, err
	}
	r := &http.Response{Header: h, Body: http.NoBody}
	var ok1, ok2 bool
	r.Proto, r.Status, ok1 = strings.Cut(start, " ")
	r.ProtoMajor, r.ProtoMinor, ok2 = parseVersion(r.Proto)
	r.StatusCode = parseStatus(r.Status)
	if !ok1 || !ok2 || r.ProtoMajor != 1 || r.StatusCode == 0 {
		return nil, ErrStartLine
	}
	return r, nil
}

// parseStatus returns the code at the start of "101 Switching Protocols", or 0
// if s is not three digits and a space (RFC 9112, Section 4). The space may be
// missing if the phrase is, as it is in the responses of many servers.
func parseStatus(s string) int {
	if len(s) < 3 || len(s) > 3 && s[3] != ' ' || s[0] < '1' || s[0] > '9' {
		return 0
	}
	code := 0
	for _, c := range []byte(s[:3]) {
		if c < '0' || c > '9' {
			return 0
		}
		code = code*10 + int(c-'0')
	}
	return code
}
