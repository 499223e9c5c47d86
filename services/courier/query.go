package courier

// Query selects messages; they come newest first.
type Query struct {
	// Status is one of the states, empty for any.
	Status Status
	// Recipient is a canonical address, empty for anybody's.
	Recipient string
	// Before is the [Message.N] of the last message of the page before; 0 begins
	// with the newest.
	Before int64
	Limit  int // 0 means 100
}
