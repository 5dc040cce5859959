// Package natsgroup sends messages to WebSockets on many machines. It does what
// websocket.Group does on one, with NATS and JetStream between the nodes.
//
//	nc, err := nats.Connect(url, nats.MaxReconnects(-1))
//	js, err := jetstream.New(nc)
//	group, err := natsgroup.Open(ctx, js, natsgroup.Options{Name: "chat", Replicas: 3, Encode: encode})
//
//	room, err := group.Topic(name)                 // a *NameError if name will not do
//	m, err := room.Join(ctx, c, &natsgroup.JoinOptions{After: lastSeen})
//	seq, err := room.Publish(ctx, websocket.Text, data)
//
// Every message that Publish returned nil for reaches every member of its topic on
// every node once, in the order of its sequences: those who stay, whatever happens to
// nodes and servers meanwhile, and those who come back and say what they saw last.
//
// # How it works
//
// All topics of a group share a stream, which keeps what was published. Its servers
// repeat each message, once it is stored, on a subject of its own, to which a node
// subscribes while it has members of the topic. Such a copy names the message before
// it, so a node sees when one was lost on its way, and fetches it from the stream;
// every two seconds it asks for the last message of each of its topics, in case there
// was none after the lost one. There is no consumer, and no state on the servers for
// each member or topic.
//
//	      Publish                                 Publish
//	         |                                       |
//	+--------+---------+   stored, in one   +--------+---------+
//	| node             |------------------->| node             |
//	|   Topic "red"    |   order: STREAM    |   Topic "red"    |
//	|   feed: last seen|<-------------------|   feed: last seen|
//	+---+-----+-----+--+   repeated: live   +--+-----+-----+---+
//	    c     c     c                          c     c     c
//
// A node that is cut off from NATS keeps its members, and catches up when it is back.
// Publishers see the fault as an error when their context ends. When a node is lost,
// its members come to others all at once: those that missed the same share an answer
// of the stream, and a node asks it 32 questions at a time while the others wait in
// turn, so that NATS answers none of them too late.
//
// What a Topic costs a node is a subscription with a goroutine; a member costs what
// websocket.Group takes, its Context, and less than 800 bytes.
//
// # What NATS has to allow
//
// A node publishes to NAME.pub.>, subscribes to NAME.live.>, and uses the JetStream
// API on the stream NAME and on the buckets NAME_nodes and NAME_presence. Names of
// groups and topics are checked, and nothing that a client sends becomes part of a
// subject or a header otherwise.
//
// # Reading the source
//
// group.go and topic.go are what programs use. history.go is the stream, feed.go a
// topic on this node and the order of what it hands on, join.go how a member gets
// what it missed, presence.go who is there, request.go how NATS is asked.
package natsgroup
