package websocket

import (
	"context"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/fullduplex-go/websocket/wstest"
)

// TestCloseWaits: Close gives a silent peer five seconds.
func TestCloseWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, peer := rawClient(t)
		begin := time.Now()
		go peer.NextFrame()
		err := c.Close(StatusNormalClosure, "")
		require.ErrorIs(t, err, context.DeadlineExceeded)
		require.Equal(t, 5*time.Second, time.Since(begin))
	})
}

// TestCloseOfAStuckPeer: a peer that does not read costs no more.
func TestCloseOfAStuckPeer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, _ := rawClient(t)
		go c.Write(background, MessageBinary, make([]byte, 1000))
		synctest.Wait()
		begin := time.Now()
		require.Error(t, c.Close(StatusNormalClosure, ""))
		require.Equal(t, 5*time.Second, time.Since(begin))
	})
}

// TestCloseDrops: what comes before the peer's Close frame does not hold it up.
func TestCloseDrops(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, peer := rawClient(t)
		go func() {
			peer.SendFrame(wstest.BinaryFrame(make([]byte, 30_000)))
			peer.NextFrame()
			peer.SendFrame(wstest.CloseFrame(1000, ""))
			peer.Close()
		}()
		require.NoError(t, c.Close(StatusNormalClosure, ""))
	})
}

// TestCloseBesideAReader: a goroutine that reads while Close is called gets what
// comes before the peer's Close frame.
func TestCloseBesideAReader(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, peer := rawClient(t)
		read := make(chan string, 1)
		go func() {
			_, p, _ := c.Read(background)
			read <- string(p)
			_, _, err := c.Read(background)
			read <- CloseStatus(err).String()
		}()
		synctest.Wait()
		go func() {
			peer.NextFrame()
			peer.SendFrame(wstest.TextFrame("last word"), wstest.CloseFrame(1000, ""))
			peer.Close()
		}()
		require.NoError(t, c.Close(StatusNormalClosure, ""))
		require.Equal(t, "last word", <-read)
		require.Equal(t, "StatusNormalClosure", <-read)
	})
}

func TestCloseUnblocks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, c := pipe(t)
		failed := make(chan error, 1)
		go func() {
			_, _, err := c.Read(background)
			failed <- err
		}()
		synctest.Wait()
		require.NoError(t, c.Close(StatusNormalClosure, "done"))
		require.Equal(t, StatusNormalClosure, CloseStatus(<-failed))
		require.Equal(t, StatusNormalClosure, StatusCode(endOf(s).Code))
	})
}

func TestCloseTwice(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, c := pipe(t)
		require.NoError(t, c.Close(StatusNormalClosure, ""))
		require.ErrorIs(t, c.Close(StatusGoingAway, ""), net.ErrClosed)
		require.ErrorIs(t, c.CloseNow(), net.ErrClosed)
	})
}

func TestCloseAfterCloseNow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, c := pipe(t)
		require.NoError(t, c.CloseNow())
		require.ErrorIs(t, c.Close(StatusNormalClosure, ""), net.ErrClosed)
		require.ErrorIs(t, c.CloseNow(), net.ErrClosed)
	})
}

func TestCloseAfterPeerClosed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, c := pipe(t)
		require.NoError(t, s.Close(4000, "bye"))
		endOf(c)
		err := c.Close(StatusNormalClosure, "")
		require.ErrorIs(t, err, net.ErrClosed)
		require.ErrorIs(t, err, CloseError{Code: 4000, Reason: "bye"})
		require.Equal(t, StatusCode(4000), CloseStatus(c.Write(background, MessageText, nil)))
	})
}

// TestCloseMeetsAnotherCode: a peer that closes at the same time.
func TestCloseMeetsAnotherCode(t *testing.T) {
	for answer, want := range map[StatusCode]bool{1000: true, 1005: true, 4001: false} {
		synctest.Test(t, func(t *testing.T) {
			c, peer := rawClient(t)
			go func() {
				peer.NextFrame()
				peer.SendFrame(closeFrame(answer))
				peer.Close()
			}()
			err := c.Close(StatusNormalClosure, "")
			require.Equal(t, want, err == nil, answer)
			if err != nil {
				require.Equal(t, answer, CloseStatus(err))
			}
		})
	}
}

// closeFrame returns a Close frame with code, or without one for
// StatusNoStatusRcvd.
func closeFrame(code StatusCode) wstest.Frame {
	if code == StatusNoStatusRcvd {
		return wstest.CloseFrame(0, "")
	}
	return wstest.Frame{FIN: true, Opcode: wstest.OpClose, Payload: []byte{byte(code >> 8), byte(code)}}
}

func TestCloseCodesThatMustNotBeSent(t *testing.T) {
	for _, code := range []StatusCode{-1, 1, 999, 1004, 1006, 1015, 1016, 2999, 5000, 65535, 65536, 66536, 70000} {
		synctest.Test(t, func(t *testing.T) {
			s, c := pipe(t)
			require.Error(t, c.Close(code, ""), code)
			require.True(t, hasEnded(c))
			require.False(t, endOf(s).Received)
		})
	}
}

func TestCloseReasonIsCut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, c := pipe(t)
		require.NoError(t, c.Close(StatusNormalClosure, strings.Repeat("r", 200)))
		require.Equal(t, strings.Repeat("r", 123), endOf(s).Reason)
	})
}
