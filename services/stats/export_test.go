package stats

// TellEnded tells what was counted as that of the slot that has just ended.
func (s *Sampler) TellEnded() { s.tell(slotOf(s.Now()) - 1) }
