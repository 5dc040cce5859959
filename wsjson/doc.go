// Package wsjson sends and receives values as JSON, by encoding/json.
//
// A value is one text message. Binary messages are read too, if they hold
// JSON in UTF-8. What is received is decoded where it lies, without a copy.
//
// A message that is not the JSON wanted is a [*DecodeError], which says where.
// It leaves the connection open, and the next message can be read. To end the
// connection with 1007 instead, pass the error to [Reject].
package wsjson
