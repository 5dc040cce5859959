// Package servers tests the library behind the servers, routers and middleware
// of others. It is a module of its own so that the library needs none of them.
package servers
