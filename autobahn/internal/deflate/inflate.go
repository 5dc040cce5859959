package deflate

import (
	"errors"
	"fmt"
)

// historySize is the farthest a match can reach back (RFC 1951, Section 3.2.5).
const historySize = 1 << 15

// An Inflater inflates the messages of one direction of a connection, and checks
// every match against the agreed window. It fails on a match into an earlier
// message if the sender agreed to no context takeover.
type Inflater struct {
	terms    Direction
	limit    int
	b        bitReader
	literals huffman
	distance huffman
	in       []byte // payload and tail
	buf      []byte // history and the current message
	farthest int
}

// NewInflater returns an inflater that refuses messages longer than limit.
func NewInflater(terms Direction, limit int) *Inflater {
	return &Inflater{terms: terms, limit: limit}
}

// Farthest returns the longest distance of a match so far.
func (f *Inflater) Farthest() int { return f.farthest }

var errTail = errors.New("deflate: the message does not end with an empty stored block")

// Inflate returns the message whose payload is p. It is valid until the next
// call. After an error the inflater must not be used again.
func (f *Inflater) Inflate(p []byte) ([]byte, error) {
	f.forget()
	start := len(f.buf)
	f.in = append(append(f.in[:0], p...), tail...)
	f.b = bitReader{in: f.in}
	for {
		emptyStored, err := f.block(start)
		if err != nil {
			return nil, err
		}
		f.b.fill()
		if f.b.empty() {
			if !emptyStored {
				return nil, errTail
			}
			return f.buf[start:], nil
		}
	}
}

// forget cuts the history to what the next message may refer to.
func (f *Inflater) forget() {
	switch {
	case f.terms.NoContext:
		f.buf = f.buf[:0]
	case len(f.buf) > historySize:
		n := copy(f.buf, f.buf[len(f.buf)-historySize:])
		f.buf = f.buf[:n]
	}
}

// block inflates one block and reports whether it was a stored one without
// content. start is where the message begins in buf.
func (f *Inflater) block(start int) (emptyStored bool, err error) {
	header, err := f.b.take(3)
	if err != nil {
		return false, err
	}
	final, kind := header&1 == 1, header>>1
	switch kind {
	case 0:
		emptyStored, err = f.stored(start)
	case 1:
		f.fixedCodes()
		err = f.matches(start)
	case 2:
		if err = f.dynamicCodes(); err == nil {
			err = f.matches(start)
		}
	default:
		err = errors.New("deflate: block of reserved type 3")
	}
	if final {
		f.b.align()
	}
	return emptyStored, err
}

// stored copies a stored block (RFC 1951, Section 3.2.4).
func (f *Inflater) stored(start int) (empty bool, err error) {
	f.b.align()
	var lengths [4]byte
	head, err := f.b.octets(lengths[:0], 4)
	if err != nil {
		return false, err
	}
	n, complement := int(head[0])|int(head[1])<<8, int(head[2])|int(head[3])<<8
	if n^complement != 0xffff {
		return false, errors.New("deflate: lengths of a stored block disagree")
	}
	if err := f.room(start, n); err != nil {
		return false, err
	}
	f.buf, err = f.b.octets(f.buf, n)
	return n == 0, err
}

// room returns an error if n more octets make the message too long.
func (f *Inflater) room(start, n int) error {
	if len(f.buf)-start+n > f.limit {
		return fmt.Errorf("deflate: message is longer than %d octets", f.limit)
	}
	return nil
}

// fixedCodes sets the codes of RFC 1951, Section 3.2.6.
func (f *Inflater) fixedCodes() {
	var lengths [288]byte
	for i := range lengths {
		switch {
		case i < 144:
			lengths[i] = 8
		case i < 256:
			lengths[i] = 9
		case i < 280:
			lengths[i] = 7
		default:
			lengths[i] = 8
		}
	}
	var distances [32]byte
	for i := range distances {
		distances[i] = 5
	}
	f.literals.build(lengths[:], false)
	f.distance.build(distances[:], false)
}

// codeOrder is the order of the code lengths of the code lengths.
var codeOrder = [19]byte{16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15}

// dynamicCodes reads the codes of RFC 1951, Section 3.2.7.
func (f *Inflater) dynamicCodes() error {
	header, err := f.b.take(14)
	if err != nil {
		return err
	}
	literals, distances, codes := header&31+257, header>>5&31+1, header>>10+4
	if literals > 286 {
		return errors.New("deflate: too many literal codes")
	}
	var order [19]byte
	for _, i := range codeOrder[:codes] {
		n, err := f.b.take(3)
		if err != nil {
			return err
		}
		order[i] = byte(n)
	}
	if err := f.literals.build(order[:], false); err != nil {
		return err
	}
	lengths := make([]byte, 0, 286+32)
	if lengths, err = f.codeLengths(lengths, literals+distances); err != nil {
		return err
	}
	if lengths[256] == 0 {
		return errors.New("deflate: no code for the end of a block")
	}
	if err := f.literals.build(lengths[:literals], false); err != nil {
		return err
	}
	return f.distance.build(lengths[literals:], true)
}

// codeLengths reads n run-length encoded code lengths. The literals field holds
// the code of the code lengths meanwhile.
func (f *Inflater) codeLengths(lengths []byte, n int) ([]byte, error) {
	for len(lengths) < n {
		symbol, err := f.literals.decode(&f.b)
		if err != nil {
			return nil, err
		}
		if symbol < 16 {
			lengths = append(lengths, byte(symbol))
			continue
		}
		if symbol == 16 && len(lengths) == 0 {
			return nil, errors.New("deflate: repeat of no code length")
		}
		value, bits, base := byte(0), uint(7), 11
		switch symbol {
		case 16:
			value, bits, base = lengths[len(lengths)-1], 2, 3
		case 17:
			bits, base = 3, 3
		}
		extra, err := f.b.take(bits)
		if err != nil {
			return nil, err
		}
		if len(lengths)+base+extra > n {
			return nil, errors.New("deflate: code lengths repeat over their end")
		}
		for range base + extra {
			lengths = append(lengths, value)
		}
	}
	return lengths, nil
}

// Bases and extra bits of lengths (symbols from 257) and of distances
// (RFC 1951, Section 3.2.5).
var (
	lengthBase   = [29]uint16{3, 4, 5, 6, 7, 8, 9, 10, 11, 13, 15, 17, 19, 23, 27, 31, 35, 43, 51, 59, 67, 83, 99, 115, 131, 163, 195, 227, 258}
	lengthBits   = [29]byte{0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3, 4, 4, 4, 4, 5, 5, 5, 5, 0}
	distanceBase = [30]uint16{1, 2, 3, 4, 5, 7, 9, 13, 17, 25, 33, 49, 65, 97, 129, 193, 257, 385, 513, 769, 1025, 1537, 2049, 3073, 4097, 6145, 8193, 12289, 16385, 24577}
	distanceBits = [30]byte{0, 0, 0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5, 6, 6, 7, 7, 8, 8, 9, 9, 10, 10, 11, 11, 12, 12, 13, 13}
)

// matches inflates literals and matches up to the end of the block.
func (f *Inflater) matches(start int) error {
	for {
		symbol, err := f.literals.decode(&f.b)
		switch {
		case err != nil:
			return err
		case symbol < 256:
			f.buf = append(f.buf, byte(symbol))
			if len(f.buf)-start > f.limit {
				return f.room(start, 0)
			}
		case symbol == 256:
			return nil
		case symbol > 285:
			return errors.New("deflate: reserved length code")
		default:
			if err := f.match(start, symbol-257); err != nil {
				return err
			}
		}
	}
}

// match copies the match whose length has that code.
func (f *Inflater) match(start, lengthCode int) error {
	extra, err := f.b.take(uint(lengthBits[lengthCode]))
	if err != nil {
		return err
	}
	length := int(lengthBase[lengthCode]) + extra
	code, err := f.distance.decode(&f.b)
	if err != nil {
		return err
	}
	if code >= len(distanceBase) {
		return errors.New("deflate: reserved distance code")
	}
	if extra, err = f.b.take(uint(distanceBits[code])); err != nil {
		return err
	}
	distance := int(distanceBase[code]) + extra
	if err := f.checkDistance(distance); err != nil {
		return err
	}
	if err := f.room(start, length); err != nil {
		return err
	}
	from := len(f.buf) - distance
	for i := range length {
		f.buf = append(f.buf, f.buf[from+i])
	}
	return nil
}

// checkDistance records a distance and checks it.
func (f *Inflater) checkDistance(distance int) error {
	f.farthest = max(f.farthest, distance)
	switch {
	case distance > 1<<f.terms.Window:
		return fmt.Errorf("deflate: a match reaches %d octets back, the agreed window is %d", distance, 1<<f.terms.Window)
	case distance > len(f.buf):
		return fmt.Errorf("deflate: a match reaches %d octets back where %d may be referred to", distance, len(f.buf))
	default:
		return nil
	}
}
