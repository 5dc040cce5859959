package websocket

import (
	"context"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/require"

	"github.com/fullduplex-go/websocket/wstest"
)

func TestCloseReadSeesTheEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, c := pipe(t)
		ctx := c.CloseRead(background)
		require.Equal(t, ctx, c.CloseRead(canceled()))
		require.NoError(t, s.Ping(background))
		require.NoError(t, c.Ping(background))
		sends(t, c, "still written")
		receives(t, s, "still written")
		require.NoError(t, ctx.Err())
		require.NoError(t, s.Close(StatusGoingAway, "bye"))
		<-ctx.Done()
		require.ErrorIs(t, ctx.Err(), context.Canceled)
		require.Equal(t, StatusGoingAway, CloseStatus(context.Cause(ctx)))
	})
}

func TestCloseReadRefusesMessages(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, c := pipe(t)
		ctx := c.CloseRead(background)
		sends(t, s, "surprise")
		_, _, err := s.Read(background)
		require.Equal(t, StatusPolicyViolation, CloseStatus(err))
		<-ctx.Done()
	})
}

// TestCloseReadAfterAMessage: what came before and was not read counts as well.
func TestCloseReadAfterAMessage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, c := pipe(t)
		go offers(s, "early")
		synctest.Wait()
		<-c.CloseRead(background).Done()
		require.Equal(t, StatusPolicyViolation, StatusCode(endOf(s).Code))
	})
}

func TestCloseReadFollowsItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, c := pipe(t)
		parent, cancel := context.WithCancelCause(background)
		ctx := c.CloseRead(parent)
		cancel(errWrite)
		<-ctx.Done()
		require.Equal(t, errWrite, context.Cause(ctx))
		require.False(t, endOf(s).Received)
	})
}

func TestReadAfterCloseRead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, c := pipe(t)
		c.CloseRead(background)
		_, _, err := c.Read(background)
		require.ErrorIs(t, err, errCloseRead)
		_, _, err = c.Reader(background)
		require.ErrorIs(t, err, errCloseRead)
		require.False(t, hasEnded(c))
	})
}

func TestCloseAfterCloseRead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, c := pipe(t)
		ctx := c.CloseRead(background)
		require.NoError(t, c.Close(StatusNormalClosure, ""))
		<-ctx.Done()
		require.True(t, hasEnded(s))
	})
}

// TestCloseAfterCloseReadDrops: messages that were under way when Close was
// called change nothing.
func TestCloseAfterCloseReadDrops(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, peer := rawClient(t)
		ctx := c.CloseRead(background)
		closed := make(chan error, 1)
		go func() { closed <- c.Close(StatusNormalClosure, "") }()
		code, _ := peer.ReadFrame().CloseCode()
		require.EqualValues(t, StatusNormalClosure, code)
		peer.SendFrame(wstest.TextFrame("under way"), wstest.CloseFrame(1000, ""))
		peer.Close()
		require.NoError(t, <-closed)
		<-ctx.Done()
		require.Equal(t, StatusNormalClosure, CloseStatus(context.Cause(ctx)))
	})
}

func TestCloseReadAfterTheEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, c := pipe(t)
		c.CloseNow()
		<-c.CloseRead(background).Done()
	})
}

func TestCloseReadNoticesBrokenRules(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, peer := rawClient(t)
		ctx := c.CloseRead(background)
		peer.Send([]byte{0x83, 0x80, 0, 0, 0, 0})
		code, _ := peer.ReadFrame().CloseCode()
		require.EqualValues(t, StatusProtocolError, code)
		<-ctx.Done()
	})
}
