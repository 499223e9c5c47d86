package doctor

import "context"

func (d *Doctor) lookListenerCerts(context.Context) (f findings) {
	f.green(checkListenerCerts, "none: what is in front of the listeners has TLS")
	return f
}

func (d *Doctor) lookBusCerts(context.Context) (f findings) {
	f.green(checkBusCerts, "none")
	return f
}
