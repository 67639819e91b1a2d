"""Live lines: how bytes reach the hub and leave it, and who may open one."""
