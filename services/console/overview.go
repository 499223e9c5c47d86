package console

import (
	"net/http"

	"github.com/usher-auth/usher/services/operator"
)

func overviewRoutes() []route {
	return []route{
		{"GET " + pathOverview, operator.RoleOperator, (*visit).overview},
	}
}

// overview shows how the installation is.
func (v *visit) overview() error {
	v.show(http.StatusOK, "Overview", base+"/", overviewPage())
	return nil
}
