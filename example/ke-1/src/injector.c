#include "injector.h"

#include "flow_table.h"

static double clamp(double value, double low, double high)
{
    return value < low ? low : value > high ? high : value;
}

double injector_flow(double position, double pressure)
{
    double x = clamp(position, 0, 1) * (FLOW_COLUMNS - 1);
    double y = clamp(pressure / FLOW_MAX_PRESSURE, 0, 1) * (FLOW_ROWS - 1);
    int column = (int)x < FLOW_COLUMNS - 1 ? (int)x : FLOW_COLUMNS - 2;
    int row = (int)y < FLOW_ROWS - 1 ? (int)y : FLOW_ROWS - 2;
    double fx = x - column, fy = y - row;
    double top = flow_table[row][column] * (1 - fx) + flow_table[row][column + 1] * fx;
    double bottom = flow_table[row + 1][column] * (1 - fx) + flow_table[row + 1][column + 1] * fx;
    return top * (1 - fy) + bottom * fy;
}
