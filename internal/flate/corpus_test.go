package flate

import (
	"fmt"
	"math/rand/v2"
	"strings"
)

// A corpus is a conversation of messages of one kind.
type corpus struct {
	name     string
	messages [][]byte
}

const someText = `the quick brown fox jumps over a lazy dog while people in the office talk about what they have done this week and what is left to do before the release next monday because nobody wants to stay late again so please have another look at your open reviews and tell me if there is anything that still blocks you or needs more time than we thought when it was planned some of these tests fail now and then on slow machines although they pass everywhere else which makes it hard to find out why thanks for your help yesterday it really made a difference let us meet after lunch in the small room near the kitchen`

var words = strings.Fields(someText)

// sentence returns about n words.
func sentence(r *rand.Rand, n int) string {
	var b strings.Builder
	for i := range n {
		if i > 0 {
			b.WriteByte(' ')
		}
		w := words[min(r.IntN(len(words)), r.IntN(len(words)))]
		if r.IntN(6) == 0 {
			w += words[r.IntN(len(words))]
		}
		b.WriteString(w)
	}
	return b.String()
}

func uuid(r *rand.Rand) string {
	return fmt.Sprintf("%08x-%04x-4%03x-%04x-%012x", r.Uint32(), r.IntN(1<<16), r.IntN(1<<12), 0x8000+r.IntN(1<<14), r.Uint64N(1<<48))
}

func chat(r *rand.Rand) string {
	user := r.IntN(40)
	return fmt.Sprintf(`{"type":"message","id":"%s","channel":"team-%d","user":{"id":%d,"name":"%s%d","avatar":"https://cdn.example.com/a/%d.png"},"ts":%d.%06d,"text":"%s.","mentions":[],"reactions":[]}`,
		uuid(r), r.IntN(9), 10000+user*77, words[user], user, user*13, 1790000000+r.IntN(100000), r.IntN(1000000), sentence(r, 6+r.IntN(40)))
}

func ticker(r *rand.Rand) string {
	symbol := []string{"BTC-USD", "ETH-USD", "SOL-EUR", "ADA-USD"}[r.IntN(4)]
	price := func() string { return fmt.Sprintf("%d.%02d", 20000+r.IntN(50000), r.IntN(100)) }
	if r.IntN(5) > 0 {
		return fmt.Sprintf(`{"e":"trade","E":%d,"s":"%s","t":%d,"p":"%s","q":"%d.%08d","m":%t}`, 1790000000000+r.Int64N(1e8), symbol, r.IntN(1e9), price(), r.IntN(3), r.IntN(1e8), r.IntN(2) == 0)
	}
	side := func() string {
		var rows []string
		for range 4 + r.IntN(14) {
			rows = append(rows, fmt.Sprintf(`["%s","%d.%08d"]`, price(), r.IntN(9), r.IntN(1e8)))
		}
		return strings.Join(rows, ",")
	}
	return fmt.Sprintf(`{"e":"depthUpdate","E":%d,"s":"%s","U":%d,"b":[%s],"a":[%s]}`, 1790000000000+r.Int64N(1e8), symbol, r.IntN(1e9), side(), side())
}

func telemetry(r *rand.Rand) string {
	return fmt.Sprintf(`{"device":"sensor-%04d","site":"plant-%d","seq":%d,"time":"2026-11-%02dT%02d:%02d:%02d.%03dZ","status":"ok","readings":{"temperature":%.2f,"humidity":%.2f,"pressure":%.1f,"voltage":%.3f,"current":%.3f},"position":{"lat":%.6f,"lon":%.6f,"alt":%.1f},"flags":{"charging":%t,"door":%t},"uptime":%d,"firmware":"2.14.%d"}`,
		r.IntN(300), r.IntN(5), r.IntN(1e6), 1+r.IntN(28), r.IntN(24), r.IntN(60), r.IntN(60), r.IntN(1000), 15+r.Float64()*20, r.Float64()*100, 980+r.Float64()*50, 3+r.Float64(), r.Float64()*2, 48+r.Float64(), 11+r.Float64(), r.Float64()*500, r.IntN(2) == 0, r.IntN(9) == 0, r.IntN(1e7), r.IntN(9))
}

func rpc(r *rand.Rand) string {
	method := []string{"textDocument/completion", "textDocument/hover", "session/update", "account/balance", "order/submit"}[r.IntN(5)]
	if r.IntN(2) == 0 {
		return fmt.Sprintf(`{"jsonrpc":"2.0","id":%d,"method":"%s","params":{"session":"%s","position":{"line":%d,"character":%d},"value":%d}}`, r.IntN(1e6), method, uuid(r), r.IntN(2000), r.IntN(120), r.IntN(1e6))
	}
	return fmt.Sprintf(`{"jsonrpc":"2.0","id":%d,"result":{"ok":true,"hash":"%016x","label":"%s","count":%d}}`, r.IntN(1e6), r.Uint64(), sentence(r, 3+r.IntN(4)), r.IntN(1000))
}

func mixed(r *rand.Rand) string {
	return []func(*rand.Rand) string{chat, ticker, telemetry, rpc}[r.IntN(4)](r)
}

// smallCorpora returns n messages of each kind, of 100 bytes to 2 KB.
func smallCorpora(n int) (all []corpus) {
	r := rand.New(rand.NewPCG(41, 42))
	for _, kind := range []struct {
		name string
		make func(*rand.Rand) string
	}{{"chat", chat}, {"ticker", ticker}, {"telemetry", telemetry}, {"rpc", rpc}, {"mixed", mixed}} {
		c := corpus{name: kind.name}
		for range n {
			c.messages = append(c.messages, []byte(kind.make(r)))
		}
		all = append(all, c)
	}
	return all
}

// largeJSON returns messages of 64 KB.
func largeJSON(n int) corpus {
	r := rand.New(rand.NewPCG(43, 44))
	c := corpus{name: "64 KB JSON"}
	for range n {
		var b strings.Builder
		b.WriteString(`{"items":[`)
		for b.Len() < 64<<10 {
			b.WriteString(chat(r) + "," + telemetry(r) + ",")
		}
		c.messages = append(c.messages, []byte(b.String()[:64<<10]))
	}
	return c
}

// largeText returns one message of 1 MB of words.
func largeText() corpus {
	r := rand.New(rand.NewPCG(45, 46))
	var b strings.Builder
	for b.Len() < 1<<20 {
		s := sentence(r, 5+r.IntN(20))
		b.WriteString(strings.ToUpper(s[:1]) + s[1:] + fmt.Sprintf(" %d. ", r.IntN(1000)))
	}
	return corpus{"1 MB text", [][]byte{[]byte(b.String()[:1<<20])}}
}

// randomBytes returns messages that cannot be compressed.
func randomBytes(n, size int) corpus {
	r := rand.New(rand.NewPCG(47, 48))
	c := corpus{name: "random"}
	for range n {
		m := make([]byte, size)
		for i := range m {
			m[i] = byte(r.Uint32())
		}
		c.messages = append(c.messages, m)
	}
	return c
}
