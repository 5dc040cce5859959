package websocket

import (
	"crypto/tls"
	"errors"
	"net/http"

	"github.com/fullduplex-go/websocket/internal/http1"
)

// credentialFields are the fields of a request that do not follow it to
// another origin.
var credentialFields = []string{"Authorization", "Cookie", "Cookie2", "Proxy-Authorization", "Www-Authenticate"}

// isRedirect reports whether the response r asks to go elsewhere.
func isRedirect(r *http.Response) bool {
	if r == nil || r.Header.Get("Location") == "" {
		return false
	}
	switch r.StatusCode {
	case http.StatusMovedPermanently, http.StatusFound, http.StatusSeeOther,
		http.StatusTemporaryRedirect, http.StatusPermanentRedirect:
		return true
	default:
		return false
	}
}

// followRedirect returns the handshake that r, a redirect, asks for. It goes from ws to
// wss, never back. On another origin it does without the credentials of this
// one: user name and password, the fields in credentialFields, the client's
// certificate. What was left behind does not come back on the way.
func (d *dialer) followRedirect(r *http.Response) (*dialer, error) {
	t, err := d.redirectURI(r)
	if err != nil {
		return nil, &HandshakeError{Status: r.StatusCode, Reason: "redirect is not followed", Response: r, Err: err, quoted: quotedFrom(r, nil)}
	}
	opts := d.opts
	if t.sharesOrigin(d.uri) {
		t.user = d.uri.user
	} else {
		opts = withoutCredentials(opts)
	}
	return newDialerTo(t, opts)
}

// redirectURI returns where r leads.
func (d *dialer) redirectURI(r *http.Response) (*wsURI, error) {
	if d.uri.network != "tcp" {
		return nil, errors.New("server is on a Unix socket")
	}
	u, err := d.uri.url().Parse(r.Header.Get("Location"))
	if err != nil {
		return nil, errors.New("redirect target is malformed")
	}
	u.User, u.Fragment, u.RawFragment = nil, "", ""
	t, err := parseURI(u.String())
	switch {
	case err != nil:
		return nil, err
	case t.network != "tcp":
		return nil, errors.New("redirect target is a Unix socket")
	case d.uri.secure && !t.secure:
		return nil, errors.New("redirect target is not wss")
	default:
		return t, nil
	}
}

// sharesOrigin reports whether t and u have scheme, host and port in common.
func (t *wsURI) sharesOrigin(u *wsURI) bool {
	return t.secure == u.secure && http1.EqualFold(t.host, u.host) && t.port == u.port
}

// withoutCredentials returns what of o may be used on another origin.
func withoutCredentials(o *DialOptions) *DialOptions {
	other := *o
	other.Host = ""
	other.Header = make(http.Header, len(o.Header))
	for name, values := range o.Header {
		other.Header[http1.CanonicalName(name)] = append(other.Header[http1.CanonicalName(name)], values...)
	}
	for _, name := range credentialFields {
		delete(other.Header, name)
	}
	if o.TLS != nil {
		other.TLS = o.TLS.Clone()
		other.TLS.ServerName = ""
		other.TLS.Certificates = nil
		other.TLS.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
			return new(tls.Certificate), nil
		}
	}
	return &other
}
