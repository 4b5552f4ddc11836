// The groups of checks: `conform NAME`, each on an engine that has nothing else to do.
#ifndef CONFORM_H
#define CONFORM_H

#include "program.h"

void registering(void);
void options(void);
void older(void);
void loops(void);
void frames(void);
void rings(void);
void forcing(void);
void joining(void);
void offloads(void);
void piping(void);
void watching(void);
void owning(void);
void lasting(void);
void handing(void);
void shedding(void);

#endif
