package config

// RateLimits are how much the clients of one network may do.
type RateLimits struct {
	Enabled      bool      `yaml:"enabled"`
	Registration RateLimit `yaml:"registration"`
	LoginFailed  RateLimit `yaml:"login_failed"`
	CodeTry      RateLimit `yaml:"code_try"`
	MailStart    RateLimit `yaml:"mail_start"`
	FlowCreation RateLimit `yaml:"flow_creation"`
}

// RateLimit is so much at once, and so much an hour.
type RateLimit struct {
	Burst   int `yaml:"burst"`
	PerHour int `yaml:"per_hour"`
	// GlobalPerSecond bounds a process as a whole; 0 does not.
	GlobalPerSecond int `yaml:"global_per_second"`
}

const rateLimits = "rate_limits"

// usualLimits are the defaults: burst and per hour.
var usualLimits = map[string][2]int{
	"registration":  {50, 200},
	"login_failed":  {100, 300},
	"code_try":      {100, 300},
	"mail_start":    {50, 200},
	"flow_creation": {300, 6000},
}

func (l *loader) checkRateLimits(c *Config) {
	r := &c.RateLimits
	for name, limit := range map[string]RateLimit{
		"registration":  r.Registration,
		"login_failed":  r.LoginFailed,
		"code_try":      r.CodeTry,
		"mail_start":    r.MailStart,
		"flow_creation": r.FlowCreation,
	} {
		key := join(rateLimits, name)
		if limit.Burst < 1 {
			l.refuseKey(key+".burst", "want 1 or more, not %d", limit.Burst)
		}
		if limit.PerHour < 1 {
			l.refuseKey(key+".per_hour", "want 1 or more, not %d", limit.PerHour)
		}
		if limit.GlobalPerSecond < 0 {
			l.refuseKey(key+".global_per_second", "want 0 or more, not %d", limit.GlobalPerSecond)
		}
	}
}
