package api

import (
	"net/http"

	"github.com/usher-auth/usher/services/stats"
)

// statsView is [stats.Hour] with times as all answers write them.
type statsView struct {
	stats.Hour
	From      stamp               `json:"from"`
	Until     stamp               `json:"until"`
	Instances []statsInstanceView `json:"instances"`
}

type statsInstanceView struct {
	stats.Instance
	StartedAt stamp `json:"started_at"`
	SeenAt    stamp `json:"seen_at"`
}

// showStats gives what all processes counted within the last hour, from memory.
func (s *Server) showStats(x *exchange) error {
	hour := s.Stats()
	v := statsView{Hour: hour, From: stamp(hour.From), Until: stamp(hour.Until), Instances: []statsInstanceView{}}
	for _, i := range hour.Instances {
		v.Instances = append(v.Instances, statsInstanceView{i, stamp(i.StartedAt), stamp(i.SeenAt)})
	}
	return x.encode(http.StatusOK, v)
}
