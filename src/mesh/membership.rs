//! Who is alive: SWIM (foca) with Lifeguard's local health, as a core without I/O and its driver.
