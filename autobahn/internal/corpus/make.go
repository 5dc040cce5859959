package corpus

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"strings"
	"unicode"
	"unicode/utf8"
)

// The files have the sizes of the suite's own, in octets.
const (
	jsonSize   = 194_056
	bitmapSide = 512
	proseSize  = 222_218
	htmlSize   = 263_647
	pdfSize    = 1_042_328
	pdfPages   = 145
)

// makeJSON returns test results: many small objects with the same keys.
func makeJSON() []byte {
	r := source(JSON)
	var b bytes.Buffer
	b.WriteString("{\n   \"agent\": {\n")
	for i := 0; ; i++ {
		entry := fmt.Sprintf("      \"%d.%d.%d\": {\n         \"behavior\": \"OK\", \n         \"behaviorClose\": \"OK\", \n"+
			"         \"duration\": %d, \n         \"remoteCloseCode\": 1000, \n         \"reportfile\": \"agent_case_%d_%d_%d.json\"\n      }",
			i/90+1, i/18%5+1, i%18+1, r.IntN(30), i/90+1, i/18%5+1, i%18+1)
		if b.Len()+len(entry)+20 > jsonSize {
			break
		}
		if i > 0 {
			b.WriteString(", \n")
		}
		b.WriteString(entry)
	}
	const end = "\n   }\n}\n"
	for b.Len()+len(end) < jsonSize {
		b.WriteByte(' ')
	}
	b.WriteString(end)
	return b.Bytes()
}

// makeBitmap returns a Windows bitmap of 8-bit gray values: soft shapes with the
// noise of a sensor.
func makeBitmap() []byte {
	const headers, palette = 14 + 40, 4 * 256
	b := make([]byte, 0, headers+palette+bitmapSide*bitmapSide)
	le16 := func(v int) { b = append(b, byte(v), byte(v>>8)) }
	le32 := func(v int) { le16(v); le16(v >> 16) }
	b = append(b, "BM"...)
	le32(cap(b))
	le32(0)
	le32(headers + palette)
	le32(40)
	le32(bitmapSide)
	le32(bitmapSide)
	le16(1)
	le16(8)
	for _, v := range []int{0, bitmapSide * bitmapSide, 2835, 2835, 256, 256} {
		le32(v)
	}
	for i := range 256 {
		b = append(b, byte(i), byte(i), byte(i), 0)
	}
	r := source(Bitmap)
	for y := range bitmapSide {
		for x := range bitmapSide {
			b = append(b, grey(x, y)+noise(r))
		}
	}
	return b
}

// grey returns the value of the picture without noise, between 60 and 147.
func grey(x, y int) byte {
	dx, dy := x-200, y-300
	shade := (x*3 + y*2) % 350
	if dx*dx+dy*dy < 140*140 {
		shade = 300 - (dx*dx+dy*dy)/80
	}
	if shade > 175 {
		shade = 350 - shade
	}
	return byte(60 + min(max(shade, 0), 175)/2)
}

// noise returns the sum of several small random values.
func noise(r *rand.Rand) byte {
	return byte(r.IntN(10) + r.IntN(10) - 9)
}

// makeProse returns sentences in German, in UTF-8 with a byte order mark.
func makeProse() []byte {
	r := source(Prose)
	words := vocabulary(r)
	var b bytes.Buffer
	b.WriteString("\ufeff")
	for line := 0; b.Len() < proseSize-500; {
		n := 5 + r.IntN(18)
		for i := range n {
			word := words[r.IntN(r.IntN(len(words))+1)]
			if i == 0 {
				first, n := utf8.DecodeRuneInString(word)
				word = string(unicode.ToUpper(first)) + word[n:]
			}
			b.WriteString(word)
			line += len(word) + 1
			switch {
			case i == n-1:
				b.WriteByte(".!?;"[r.IntN(4)])
			case r.IntN(9) == 0:
				b.WriteByte(',')
			}
			if line > 68 {
				b.WriteString("\r\n")
				line = 0
			} else {
				b.WriteByte(' ')
			}
		}
	}
	for b.Len() < proseSize {
		b.WriteByte('.')
	}
	return b.Bytes()
}

// common are frequent German words. The other words are built from parts.
const common = `und der die das ich nicht sie er zu in mit ein es den auf so ist wie dem von
sich war als an noch nur auch wenn was mir aber aus eine du daß ihm ja da nun dann doch hat wir schon vor
durch bei man wird über für hatte sein nach mich wohl kein ihr Hand Herz Auge Tag Nacht Welt Leben Mann Frau
Gott Zeit Haus alles immer wieder ganz hier unter Geist sehr kann mehr will keine sagte ging kam stand`

var (
	stems   = strings.Fields(`fang geh sprech wund sonn licht dunk schat himm erd feu wass flieg trag schlaf wach denk freud leid hoff bang still laut weit nah hoch tief alt jung kalt warm recht fals stark schwach zart rauh frei bund klag sing schreib les seh hör füg bau brech grüb schöp mächt kraft glanz traum ruh`)
	onsets  = strings.Fields(`b bl br d dr f fl fr g gl gr h j k kl kn kr l m n p pl pr r s sch schl schm schw sp spr st str t tr w z zw`)
	vowels  = strings.Fields(`a e i o u ä ö ü ei au eu ie aa ee oh uh`)
	codas   = strings.Fields(`b ch ck d ff g hl k l ll ld lt m mm mpf n nd ng nk nn nt p r rb rd rf rg rk rm rn rt s sch ss st t tt tz z`)
	prefix  = strings.Fields(`ge be ver er ent zer un auf ab an aus ein vor hin her um mit nach zu`)
	endings = strings.Fields(`en er e es te ten end ung heit keit lich ig sam bar los schaft ern est et`)
)

// vocabulary returns words, the frequent ones first.
func vocabulary(r *rand.Rand) []string {
	words := strings.Fields(common)
	for range 12000 {
		word := onsets[r.IntN(len(onsets))] + vowels[r.IntN(len(vowels))] + codas[r.IntN(len(codas))] + endings[r.IntN(len(endings))]
		if r.IntN(2) == 0 {
			word = prefix[r.IntN(len(prefix))] + word
		}
		if r.IntN(2) == 0 {
			word = stems[r.IntN(len(stems))] + word
		}
		words = append(words, word)
	}
	return words
}

// makeHTML returns a report page in UTF-8 with 53 octets that are not ASCII.
func makeHTML() []byte {
	r := source(HTML)
	var b bytes.Buffer
	b.WriteString("<!DOCTYPE html>\n<html>\n<head>\n<meta charset=\"utf-8\" />\n<style>\n")
	for i := range 60 {
		fmt.Fprintf(&b, "td.case_%d { background-color: #%02x%02x%02x; padding: %dpx; font-size: 0.9em; }\n", i, r.IntN(256), r.IntN(256), r.IntN(256), r.IntN(20))
	}
	b.WriteString("</style>\n</head>\n<body>\n<h1>Übersicht: 1 €</h1>\n")
	for row := 0; b.Len() < htmlSize-200; row++ {
		if row%40 == 0 {
			fmt.Fprintf(&b, "<table class=\"report\">\n<tr><th>%d</th></tr>\n", row)
		}
		title := "Pruefung"
		if row%30 == 1 && row/30 < 24 {
			title = "Prüfung"
		}
		fmt.Fprintf(&b, "<tr class=\"row\"><td class=\"case_%d\"><a href=\"#case_%d\">%s %d.%d</a></td><td class=\"ok\">Pass</td><td class=\"time\">%d ms</td></tr>\n",
			r.IntN(60), row, title, row/18, row%18, r.IntN(100))
	}
	const end = "</table>\n</body>\n</html>\n"
	for b.Len()+len(end) < htmlSize {
		b.WriteByte('\n')
	}
	b.WriteString(end)
	return b.Bytes()
}

// makePDF returns pages whose pictures are compressed and whose text is not.
func makePDF() []byte {
	r := source(PDF)
	var b bytes.Buffer
	b.WriteString("%PDF-1.4\n%\xe2\xe3\xcf\xd3\n")
	for page := range pdfPages {
		picture := make([]byte, 5160)
		for i := range picture {
			picture[i] = byte(r.Uint32())
		}
		fmt.Fprintf(&b, "%d 0 obj\n<< /Type /XObject /Filter /FlateDecode /Length %d >>\nstream\n%s\nendstream\nendobj\n", 2*page+1, len(picture), picture)
		fmt.Fprintf(&b, "%d 0 obj\n<< /Type /Page /Contents %d 0 R >>\nstream\nBT\n", 2*page+2, 2*page+1)
		for line := 0; b.Len() < (page+1)*(pdfSize-6)/pdfPages-60; line++ {
			fmt.Fprintf(&b, "1 0 0 1 72 %d Tm (%s) Tj\n", 720-line*12, stems[r.IntN(len(stems))])
		}
		b.WriteString("ET\nendstream\nendobj\n")
	}
	for b.Len() < pdfSize-6 {
		b.WriteByte('\n')
	}
	b.WriteString("%%EOF\n")
	return b.Bytes()
}
