package app

import (
	"github.com/nats-io/nats.go"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/usher-auth/usher/services/webhook"
	"github.com/usher-auth/usher/workers/answer"
)

// answers asks answering workers, and is told how each question went.
type answers struct {
	webhook.Asker
	asked func(webhook.Asked)
}

// newAnswers asks over a connection, counts each question and says which worker
// was passed over.
func (p *process) newAnswers(auth *nats.Conn) answers {
	took := prometheus.NewHistogramVec(prometheus.HistogramOpts{
		Namespace: "usher", Name: "hook_answer_duration_seconds", Buckets: buckets,
		Help: "Questions to answering workers by hook and answer: ok, refused, missing, late, broken.",
	}, []string{"hook", "answer"})
	p.metrics.registry.MustRegister(took)
	asked := func(a webhook.Asked) {
		took.WithLabelValues(a.Worker, a.Answer).Observe(a.Took.Seconds())
		if a.WentOn {
			p.log.Warn("an answering worker was passed over (on_missing: continue)", "worker", a.Worker, "answer", a.Answer, "error", a.Err)
		}
	}
	return answers{Asker: &answer.Client{Conn: auth}, asked: asked}
}
