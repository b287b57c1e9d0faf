package plan

const sysSetns = 308
