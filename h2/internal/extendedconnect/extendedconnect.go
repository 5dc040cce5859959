// Package extendedconnect makes net/http's server offer extended CONNECT (RFC 8441,
// Section 3). net/http looks for that in the environment when it is initialized.
//
// This package imports nothing but os, so Go initializes it before net/http:
// packages whose imports are initialized come in the order of their paths, and
// net/http has to wait for many others.
package extendedconnect

import (
	"os"
	"strings"
)

// variable is where net/http looks, and setting is what it looks for.
const (
	variable = "GODEBUG"
	setting  = "http2xconnect"
)

// What Restore needs.
var (
	before  string // the variable's value
	wasSet  bool   // it had one
	changed bool   // it has another one now
)

func init() {
	before, wasSet = os.LookupEnv(variable)
	if strings.Contains(before, setting+"=") { // the operator has decided
		return
	}
	changed = true
	os.Setenv(variable, strings.TrimPrefix(before+","+setting+"=1", ","))
}

// Restore makes the variable what it was, so that programs that this one starts
// do not inherit it. It is called once net/http is initialized.
func Restore() {
	switch {
	case !changed:
	case wasSet:
		os.Setenv(variable, before)
	default:
		os.Unsetenv(variable)
	}
	changed = false
}
