"""The built-in world: a simulated table-top where the instruction decides the outcome.

`scene` draws a scene from a seed, `tasks` says what can be asked of it, `simulate` lets the arm do
it, `generate` writes a data set. The only room that knows MuJoCo. Simulated, not a real robot.
"""
