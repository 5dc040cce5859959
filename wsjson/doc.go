// Package wsjson sends and receives values as JSON, using encoding/json.
//
// Each value is one text message. Binary messages are read too, if they hold
// JSON in UTF-8. A message is decoded from a buffer that is used again, so an
// UnmarshalJSON method must copy what it keeps.
//
// A message that is not JSON for the wanted type yields a [*DecodeError], which
// says where. The connection stays open, and the next message can be read. To
// close it with 1007 instead, pass the error to [Reject].
package wsjson
