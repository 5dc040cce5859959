package websocket

import (
	"fmt"
	"net/http"
	"net/url"
	"path"
	"strings"

	fullduplex "github.com/fullduplex-go/websocket"
)

// originPolicy returns the policy that o describes.
func (o *AcceptOptions) originPolicy() fullduplex.OriginPolicy {
	if o.InsecureSkipVerify {
		return fullduplex.InsecureAnyOrigin()
	}
	patterns := o.OriginPatterns
	return func(r *http.Request) error { return checkOrigin(r, patterns) }
}

// checkOrigin returns an error if the page that sent r may not connect. A
// request without Origin does not come from a page.
func checkOrigin(r *http.Request, patterns []string) error {
	field := r.Header.Get("Origin")
	if field == "" {
		return nil
	}
	origin, err := url.Parse(field)
	if err != nil {
		return refusal("Origin is malformed", nil)
	}
	if origin.Host != "" && strings.EqualFold(origin.Host, r.Host) {
		return nil
	}
	for _, pattern := range patterns {
		matched, err := matches(pattern, origin)
		if err != nil {
			return refusal("the server's list of origins is malformed", fmt.Errorf("pattern %q: %w", pattern, err))
		}
		if matched {
			return nil
		}
	}
	return refusal(fmt.Sprintf("pages of %q may not connect to %q", origin.Host, r.Host), nil)
}

// matches reports whether pattern matches the origin.
func matches(pattern string, origin *url.URL) (bool, error) {
	name := origin.Host
	if strings.Contains(pattern, "://") {
		name = origin.Scheme + "://" + origin.Host
	}
	return path.Match(strings.ToLower(pattern), strings.ToLower(name))
}

// refusal returns the error that answers 403 with reason. cause may be nil.
func refusal(reason string, cause error) error {
	return &fullduplex.HandshakeError{Status: http.StatusForbidden, Reason: reason, Err: cause}
}
