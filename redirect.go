package websocket

import (
	"crypto/tls"
	"errors"
	"maps"
	"net/http"
	"slices"

	"github.com/fullduplex-go/websocket/internal/http1"
)

// credentialFields are the fields of a request that are not sent to another
// origin.
var credentialFields = []string{"Authorization", "Cookie", "Cookie2", "Proxy-Authorization", "Www-Authenticate"}

// isRedirect reports whether the response r, which may be nil, asks the client
// to go elsewhere.
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

// followRedirect returns the handshake that r, a redirect, asks for. It goes
// from ws to wss, never back. A handshake with another origin is made without
// the credentials for this one: user name and password, the fields in
// credentialFields, the client's certificate; and without the names that were
// set for this one, Host and TLS.ServerName. They do not come back when a later
// redirect leads here again.
func (d *dialer) followRedirect(r *http.Response) (*dialer, error) {
	u, err := d.redirectURI(r)
	if err != nil {
		return nil, &HandshakeError{Status: r.StatusCode, Reason: "redirect is not followed", Response: r, Err: err, quoted: quotedFrom(r, nil)}
	}
	opts := d.opts
	if u.sharesOrigin(d.uri) {
		u.user = d.uri.user
	} else {
		opts = withoutCredentials(opts)
	}
	return newDialerTo(u, opts)
}

// redirectURI returns where r leads, or why Dial does not go there.
func (d *dialer) redirectURI(r *http.Response) (*wsURI, error) {
	if d.uri.network != "tcp" {
		return nil, errors.New("server is on a Unix socket")
	}
	location, err := d.uri.url().Parse(r.Header.Get("Location"))
	if err != nil {
		return nil, errors.New("redirect target is malformed")
	}
	location.User, location.Fragment, location.RawFragment = nil, "", ""
	u, err := parseURI(location.String())
	switch {
	case err != nil:
		return nil, err
	case u.network != "tcp":
		return nil, errors.New("redirect target is a Unix socket")
	case d.uri.secure && !u.secure:
		return nil, errors.New("redirect target is not wss")
	default:
		return u, nil
	}
}

// sharesOrigin reports whether u and v have scheme, host and port in common.
func (u *wsURI) sharesOrigin(v *wsURI) bool {
	return u.secure == v.secure && http1.EqualFold(u.host, v.host) && u.port == v.port
}

// withoutCredentials returns a copy of o without what must not be used on
// another origin.
func withoutCredentials(o *DialOptions) *DialOptions {
	other := *o
	other.Host = ""
	other.Header = maps.Clone(o.Header)
	maps.DeleteFunc(other.Header, func(name string, _ []string) bool {
		return slices.Contains(credentialFields, http1.CanonicalName(name))
	})
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
