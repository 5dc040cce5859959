// Package deflate is the judge's own permessage-deflate (RFC 7692): the
// parameters, a compressor for any window that uses compress/flate, and an
// inflater that records how far back every match reaches.
package deflate

import (
	"fmt"
	"strconv"
	"strings"
)

// Name is the extension's token.
const Name = "permessage-deflate"

// AnyWindow is the value of a client_max_window_bits without one, in an offer.
const AnyWindow = -1

// Params are the parameters of an offer or an answer (RFC 7692, Section 7.1).
// Windows are powers of two, 8 to 15, and 0 where the parameter is absent.
type Params struct {
	ServerNoContext bool
	ClientNoContext bool
	ServerWindow    int
	ClientWindow    int
}

// Offer returns p as an offer, in the suite's order.
func (p Params) Offer() string {
	return join(p.clientNoContext(), p.clientWindow(), p.serverNoContext(), p.serverWindow())
}

// Answer returns p as an answer, in the suite's order.
func (p Params) Answer() string {
	return join(p.serverNoContext(), p.serverWindow(), p.clientNoContext(), p.clientWindow())
}

// serverNoContext returns server_no_context_takeover (RFC 7692, Section 7.1), or
// "" if p does not have it.
func (p Params) serverNoContext() string {
	return flag("server_no_context_takeover", p.ServerNoContext)
}

// clientNoContext does the same for the client.
func (p Params) clientNoContext() string {
	return flag("client_no_context_takeover", p.ClientNoContext)
}

// serverWindow does the same for the server's window.
func (p Params) serverWindow() string { return window("server_max_window_bits", p.ServerWindow) }

// clientWindow does the same for the client's window.
func (p Params) clientWindow() string { return window("client_max_window_bits", p.ClientWindow) }

// flag returns name if it is set.
func flag(name string, set bool) string {
	if set {
		return name
	}
	return ""
}

// window returns the parameter name with its value, or "" if bits is 0.
func window(name string, bits int) string {
	switch bits {
	case 0:
		return ""
	case AnyWindow:
		return name
	default:
		return name + "=" + strconv.Itoa(bits)
	}
}

// join returns the extension with those parameters that are not empty.
func join(params ...string) string {
	s := Name
	for _, p := range params {
		if p != "" {
			s += "; " + p
		}
	}
	return s
}

// ParseOffers returns the well-formed permessage-deflate offers of a
// Sec-WebSocket-Extensions value. Other extensions are skipped; a malformed
// offer is an error.
func ParseOffers(header string) ([]Params, error) {
	var offers []Params
	for element := range strings.SplitSeq(header, ",") {
		name, params, _ := strings.Cut(element, ";")
		if strings.TrimSpace(name) != Name {
			continue
		}
		p, err := parseParams(params)
		if err != nil {
			return nil, err
		}
		if p.ServerWindow == AnyWindow {
			return nil, fmt.Errorf("deflate: server_max_window_bits without a value")
		}
		offers = append(offers, p)
	}
	return offers, nil
}

// ParseAnswer returns the parameters of a server's Sec-WebSocket-Extensions
// value, which must name permessage-deflate once and nothing else.
func ParseAnswer(header string) (Params, error) {
	name, params, _ := strings.Cut(header, ";")
	if strings.TrimSpace(name) != Name || strings.Contains(header, ",") {
		return Params{}, fmt.Errorf("deflate: answer %q is not one permessage-deflate", header)
	}
	p, err := parseParams(params)
	if err == nil && (p.ServerWindow == AnyWindow || p.ClientWindow == AnyWindow) {
		err = fmt.Errorf("deflate: answer %q has a window without a value", header)
	}
	return p, err
}

// parseParams returns the parameters in s, which are separated by semicolons.
func parseParams(s string) (p Params, err error) {
	if strings.TrimSpace(s) == "" {
		return p, nil
	}
	for param := range strings.SplitSeq(s, ";") {
		name, value, hasValue := strings.Cut(strings.TrimSpace(param), "=")
		if !hasValue {
			value = ""
		} else if value == "" {
			return p, fmt.Errorf("deflate: %q has an empty value", name)
		}
		if err := p.set(name, strings.Trim(value, `"`), hasValue); err != nil {
			return p, err
		}
	}
	return p, nil
}

// set adds one parameter.
func (p *Params) set(name, value string, hasValue bool) error {
	switch name {
	case "server_no_context_takeover":
		return setFlag(&p.ServerNoContext, name, hasValue)
	case "client_no_context_takeover":
		return setFlag(&p.ClientNoContext, name, hasValue)
	case "server_max_window_bits":
		return setWindow(&p.ServerWindow, name, value, hasValue)
	case "client_max_window_bits":
		return setWindow(&p.ClientWindow, name, value, hasValue)
	default:
		return fmt.Errorf("deflate: unknown parameter %q", name)
	}
}

// setFlag sets a parameter that has no value and may occur once.
func setFlag(flag *bool, name string, hasValue bool) error {
	if *flag || hasValue {
		return fmt.Errorf("deflate: %s repeated or with a value", name)
	}
	*flag = true
	return nil
}

// setWindow sets a window, which may occur once. Its value is 8 to 15 without
// leading zeros, or absent.
func setWindow(window *int, name, value string, hasValue bool) error {
	if *window != 0 {
		return fmt.Errorf("deflate: %s repeated", name)
	}
	if !hasValue {
		*window = AnyWindow
		return nil
	}
	bits, err := strconv.Atoi(value)
	if err != nil || bits < 8 || bits > 15 || strconv.Itoa(bits) != value {
		return fmt.Errorf("deflate: %s=%s", name, value)
	}
	*window = bits
	return nil
}

// Honours returns nil if p is a valid answer to offer (RFC 7692, Section 7.1).
func (p Params) Honours(offer Params) error {
	switch {
	case offer.ServerNoContext && !p.ServerNoContext:
		return fmt.Errorf("deflate: answer lacks server_no_context_takeover")
	case offer.ServerWindow > 0 && p.ServerWindow == 0:
		return fmt.Errorf("deflate: answer lacks server_max_window_bits")
	case offer.ServerWindow > 0 && p.ServerWindow > offer.ServerWindow:
		return fmt.Errorf("deflate: answered server_max_window_bits=%d is over the %d offered", p.ServerWindow, offer.ServerWindow)
	case offer.ClientWindow == 0 && p.ClientWindow != 0:
		return fmt.Errorf("deflate: answered client_max_window_bits was not offered")
	case offer.ClientWindow > 0 && p.ClientWindow > offer.ClientWindow:
		return fmt.Errorf("deflate: answered client_max_window_bits=%d is over the %d offered", p.ClientWindow, offer.ClientWindow)
	default:
		return nil
	}
}

// HonoursOne returns nil if p is a valid answer to one of the offers, else why
// it is not a valid answer to the last.
func (p Params) HonoursOne(offers []Params) (err error) {
	for _, offer := range offers {
		if err = p.Honours(offer); err == nil {
			return nil
		}
	}
	return err
}

// A Direction holds the agreed terms for one sender.
type Direction struct {
	NoContext bool // no context takeover
	Window    int  // bits
}

// Server returns the terms for what the server sends.
func (p Params) Server() Direction { return direction(p.ServerNoContext, p.ServerWindow) }

// Client returns the terms for what the client sends.
func (p Params) Client() Direction { return direction(p.ClientNoContext, p.ClientWindow) }

// direction replaces an absent window by its default of 15 bits.
func direction(noContext bool, window int) Direction {
	if window <= 0 {
		window = 15
	}
	return Direction{noContext, window}
}
