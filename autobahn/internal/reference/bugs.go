package reference

// A Bug makes an [Endpoint] wrong in one way.
type Bug uint8

// The bugs. Each comment says what the endpoint does.
const (
	None Bug = iota

	// Pings and pongs.
	WrongPongPayload  // flips a bit of each pong's last octet
	NoPong            // answers no ping
	SwappedPongs      // answers two pings that come close together in reverse order
	PongAfterMessage  // answers a ping inside a fragmented message after that message
	PongAtNextFrame   // answers a ping inside a fragmented message when the next frame comes
	AcceptLongControl // accepts control frames of more than 125 octets

	// Frames.
	IgnoreRSV               // accepts frames with reserved bits set
	IgnoreReservedOpcodes   // skips frames with reserved opcodes
	AcceptFragmentedControl // treats control frames without FIN as if they had it
	SkipContinuation        // skips continuation frames outside a message
	AcceptInterleaved       // lets a new message replace an unfinished one
	LoseEarlierEcho         // on a protocol error, loses the echo of the message just before
	NonMinimalLength        // writes lengths below 126 in 16 bits
	UnmaskedClientFrames    // as a client, does not mask
	MaskedServerFrames      // as a server, masks
	RSV1OnPong              // sets RSV1 on pongs
	FragmentLimit           // fails messages of more than 1024 frames
	SmallMessageLimit       // fails messages of more than 1 MiB

	// Messages.
	WrongType     // echoes text as binary
	TruncatedEcho // leaves out the last octet of messages of at least 65,535 octets
	CorruptEcho   // flips a bit in the middle of messages of at least 65,535 octets
	DoubleEcho    // echoes twice
	NoEcho        // echoes nothing

	// UTF-8.
	NoUTF8    // does not check text
	LateUTF8  // checks text at the end of the message
	FrameUTF8 // checks text at the end of each frame

	// Closing.
	EchoInvalidCode      // answers a Close that has an invalid code with that code
	AcceptShortClose     // answers a Close of one octet with 1000
	AcceptBadReason      // answers a Close whose reason is not UTF-8 with its code
	NoCloseReply         // does not answer Close and does not close TCP
	DropOnClose          // closes TCP without an answer to Close
	AnswerBehindClose    // continues for a moment before it answers Close
	EchoAfterClose       // continues after it has answered Close
	WrongCloseCode       // answers every Close with 1001
	NormalCodeOnFailure  // fails the connection with 1000
	NoTCPEnd             // as a server, leaves TCP open after the closing handshake
	CodeSwappedOnFailure // fails the connection with 1002 for bad text and 1007 for everything else

	// Handshake and compression.
	WrongAccept      // as a server, sends a wrong Sec-WebSocket-Accept
	IgnoreOfferTerms // answers every offer of permessage-deflate without parameters
	ContextKept      // refers to earlier messages although it agreed not to
	WindowExceeded   // uses a window of 32 KiB whatever was agreed
	ContextLost      // forgets the peer's earlier messages
	RSV1OnContinue   // cuts compressed echoes in two and sets RSV1 on both frames

	bugCount
)

var bugNames = [bugCount]string{
	"None",
	"WrongPongPayload", "NoPong", "SwappedPongs", "PongAfterMessage", "PongAtNextFrame", "AcceptLongControl",
	"IgnoreRSV", "IgnoreReservedOpcodes", "AcceptFragmentedControl", "SkipContinuation", "AcceptInterleaved",
	"LoseEarlierEcho", "NonMinimalLength", "UnmaskedClientFrames", "MaskedServerFrames", "RSV1OnPong",
	"FragmentLimit", "SmallMessageLimit",
	"WrongType", "TruncatedEcho", "CorruptEcho", "DoubleEcho", "NoEcho",
	"NoUTF8", "LateUTF8", "FrameUTF8",
	"EchoInvalidCode", "AcceptShortClose", "AcceptBadReason", "NoCloseReply", "DropOnClose", "AnswerBehindClose",
	"EchoAfterClose", "WrongCloseCode", "NormalCodeOnFailure", "NoTCPEnd", "CodeSwappedOnFailure",
	"WrongAccept", "IgnoreOfferTerms", "ContextKept", "WindowExceeded", "ContextLost", "RSV1OnContinue",
}

// String returns the name of b.
func (b Bug) String() string { return bugNames[b] }
