package http1

import "strings"

// IsToken reports whether s is a token (RFC 9110, Section 5.6.2).
func IsToken(s string) bool {
	for i := range len(s) {
		if !IsTokenChar(s[i]) {
			return false
		}
	}
	return s != ""
}

// IsTokenChar reports whether c can be part of a token.
func IsTokenChar(c byte) bool {
	return IsAlphanumeric(c) || c == '-' || strings.IndexByte("!#$%&'*+.^_`|~", c) >= 0
}

// IsAlphanumeric reports whether c is an ASCII letter or digit.
func IsAlphanumeric(c byte) bool {
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9'
}

// IsFieldText reports whether s can stand in a line of a head: it has no
// control character except the tab (RFC 9110, Section 5.5).
func IsFieldText(s string) bool {
	for i := range len(s) {
		if c := s[i]; c < ' ' && c != '\t' || c == 0x7f {
			return false
		}
	}
	return true
}

// IsVisibleASCII reports whether s is not empty and has visible ASCII
// characters only.
func IsVisibleASCII(s string) bool {
	for i := range len(s) {
		if s[i] <= ' ' || s[i] >= 0x7f {
			return false
		}
	}
	return s != ""
}

// isHostText reports whether s has only characters of uri-host [":" port]
// (RFC 3986, Section 3.2).
func isHostText(s string) bool {
	for i := range len(s) {
		if c := s[i]; !IsAlphanumeric(c) && strings.IndexByte("-._~%!$&'()*+,;=:[]", c) < 0 {
			return false
		}
	}
	return true
}

// TrimSpace returns s without the optional white space at both ends (RFC 9110,
// Section 5.6.3).
func TrimSpace(s string) string { return strings.Trim(s, " \t") }

// EqualFold reports whether s and t are equal when the case of ASCII letters
// is ignored. Where lengths are equal, strings.EqualFold cannot take a longer
// letter of another script for an ASCII one.
func EqualFold(s, t string) bool { return len(s) == len(t) && strings.EqualFold(s, t) }
