package conversation

import (
	"fmt"
	"time"

	"github.com/fullduplex-go/websocket/autobahn/internal/corpus"
	"github.com/fullduplex-go/websocket/autobahn/internal/deflate"
)

// Compression is what a conversation of category 12 or 13 plays: messages cut
// from a data file, one at a time, each awaiting its echo.
type Compression struct {
	Data     corpus.Kind
	Opcode   byte
	Size     int              // of a message, in octets for binary and in characters for text
	Fragment int              // size of the frames a compressed message is cut into; 0: one frame
	Offers   []deflate.Params // of the judge as a client, in its order of preference
}

// fullTurns is the number of messages in a conversation of the suite.
const fullTurns = 1000

// hints are the parameters that each offer of the suite starts with.
var hints = deflate.Params{ClientNoContext: true, ClientWindow: deflate.AnyWindow}

// payloads are the groups of category 12.
var payloads = []struct {
	data   corpus.Kind
	opcode byte
}{
	{corpus.JSON, Text},
	{corpus.Bitmap, Binary},
	{corpus.Prose, Binary},
	{corpus.HTML, Text},
	{corpus.PDF, Binary},
}

// parameters are the groups of category 13.
var parameters = [][]deflate.Params{
	{hints},
	{with(true, 0)},
	{with(false, 9)},
	{with(false, 15)},
	{with(true, 9)},
	{with(true, 15)},
	{with(true, 9), with(true, 0), hints},
}

// with returns an offer that asks the server for a window and, if noContext is
// set, for no context takeover.
func with(noContext bool, window int) deflate.Params {
	p := hints
	p.ServerNoContext, p.ServerWindow = noContext, window
	return p
}

// sizes are the cases of each group.
var sizes = []struct {
	size, fragment int
	limit          time.Duration
}{
	{16, 0, 60 * time.Second},
	{64, 0, 60 * time.Second},
	{256, 0, 120 * time.Second},
	{1024, 0, 240 * time.Second},
	{4096, 0, 480 * time.Second},
	{8192, 0, 480 * time.Second},
	{16384, 0, 480 * time.Second},
	{32768, 0, 480 * time.Second},
	{65536, 0, 480 * time.Second},
	{131072, 0, 480 * time.Second},
	{8192, 256, 480 * time.Second},
	{16384, 256, 480 * time.Second},
	{32768, 256, 480 * time.Second},
	{65536, 256, 480 * time.Second},
	{131072, 256, 480 * time.Second},
	{131072, 1024, 480 * time.Second},
	{131072, 4096, 480 * time.Second},
	{131072, 32768, 480 * time.Second},
}

// compressed returns categories 12 and 13.
func compressed() []*Conversation {
	var all []*Conversation
	for i, p := range payloads {
		all = append(all, group(fmt.Sprintf("12.%d", i+1), p.data, p.opcode, []deflate.Params{hints})...)
	}
	for i, offers := range parameters {
		all = append(all, group(fmt.Sprintf("13.%d", i+1), corpus.JSON, Text, offers)...)
	}
	return all
}

// group returns the cases of one group, one for each entry of sizes.
func group(id string, data corpus.Kind, opcode byte, offers []deflate.Params) []*Conversation {
	var cases []*Conversation
	for i, s := range sizes {
		cases = append(cases, &Conversation{
			ID:       fmt.Sprintf("%s.%d", id, i+1),
			Class:    Normal,
			Timer:    Timer{After: s.limit},
			Turns:    fullTurns,
			Expected: "none",
			Compression: &Compression{
				Data: data, Opcode: opcode, Size: s.size, Fragment: s.fragment, Offers: offers,
			},
		})
	}
	return cases
}

// Accept returns the answer of the judge as a server to a client's offers, or
// false if none of them fits. For each of the judge's own offers in turn it asks
// the client for what that offer asks of the server, and takes the first of the
// client's offers that allows it.
func (c *Compression) Accept(offers []deflate.Params) (deflate.Params, bool) {
	for _, own := range c.Offers {
		for _, offer := range offers {
			if own.ServerWindow == 0 || offer.ClientWindow != 0 {
				return answer(offer, own.ServerNoContext, own.ServerWindow), true
			}
		}
	}
	return deflate.Params{}, false
}

// answer grants what offer asks of the server, and asks the client for a window
// and, if noContext is set, for no context takeover.
func answer(offer deflate.Params, noContext bool, window int) deflate.Params {
	if offer.ClientWindow > 0 {
		window = min(window, offer.ClientWindow)
	}
	return deflate.Params{
		ServerNoContext: offer.ServerNoContext,
		ServerWindow:    offer.ServerWindow,
		ClientNoContext: noContext,
		ClientWindow:    window,
	}
}
