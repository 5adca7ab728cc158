"""What a consumer does about single jobs: cancelled messages, results and progress."""
