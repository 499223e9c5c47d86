package timeline

import "time"

// Delivery is a message of the stream on its way to one hook, as it was seen from
// outside.
type Delivery struct {
	Hook      string
	StreamSeq uint64
	// EventID, Attempt and PublishedAt are those of a retry, empty otherwise: the
	// event log knows the place of an event in the stream, not those of its retries.
	EventID     string
	Attempt     int
	PublishedAt time.Time
	// Deliveries counts those of this message; 0 where no ack was seen.
	Deliveries int
	AckedAt    time.Time
	// Took is from the last delivery to the ack.
	Took time.Duration
}
