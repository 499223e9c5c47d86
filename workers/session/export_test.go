package session

// MaxSpare is how many questions there are beyond the two of each request.
const MaxSpare = maxSpare

// UseSpare takes n of them from c.
func (c *Client) UseSpare(n int) {
	for range n {
		c.spare.take()
	}
}

// UsedSpare is how many are taken.
func (c *Client) UsedSpare() int {
	c.spare.mu.Lock()
	defer c.spare.mu.Unlock()
	return c.spare.used
}
