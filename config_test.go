package websocket

import (
	"reflect"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestSettledConfigsAreShared settles equal and different configurations.
func TestSettledConfigsAreShared(t *testing.T) {
	list := []string{"a", "b"}
	first := (&Config{Subprotocols: list}).settled()
	require.Same(t, first, (&Config{Subprotocols: list}).settled())
	require.NotSame(t, first, (&Config{Subprotocols: []string{"a", "b"}}).settled(), "its owner may change it")
	require.NotSame(t, first, (&Config{Subprotocols: list[:1]}).settled())

	for i := range reflect.TypeFor[Config]().NumField() {
		c := Config{Subprotocols: list}
		field := reflect.ValueOf(&c).Elem().Field(i)
		switch field.Kind() {
		case reflect.Slice:
			field.Set(reflect.ValueOf([]string{"c"}))
		case reflect.Pointer:
			field.Set(reflect.New(field.Type().Elem()))
		case reflect.Bool:
			field.SetBool(true)
		case reflect.Uint8:
			field.SetUint(1)
		default:
			field.SetInt(4321)
		}
		changed := c.settled()
		require.NotSame(t, first, changed, reflect.TypeFor[Config]().Field(i).Name)
		require.False(t, changed.equals(first))
	}
}
