"""Web pages for people without a command line: plain files, and the small server behind them."""
